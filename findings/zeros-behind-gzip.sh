#!/usr/bin/env bash
# What may stand behind a gzip stream is decided by each reader. Zeros, with which blocks used to be filled up, are nothing
# to gzip, Python and Java, the end of the data with an error to Go, and to Rust's flate2. So a batch that Java clients
# read well may be refused by a broker or a client in another language.
. "$(dirname "$0")/common/kafka.sh"
cd "$FOLDER"
{ printf 'the records' | gzip -n; printf '\0\0\0\0\0\0\0\0\0\0\0\0'; } > padded.gz

echo "gzip: $(gzip --version | head -1): $(gzip -dc padded.gz 2>&1)"
holds "gzip reads it" test "$(gzip -dc padded.gz 2> /dev/null)" = "the records"

python=$(python3 -c 'import gzip, sys; print(sys.version.split()[0], gzip.open("padded.gz").read())')
echo "Python $python"
holds "Python reads it" contains "$python" "b'the records'"

cat > Read.java <<'J'
public class Read {
    public static void main(String[] args) throws Exception {
        try (var in = new java.util.zip.GZIPInputStream(new java.io.FileInputStream("padded.gz"))) {
            System.out.println(System.getProperty("java.version") + " " + new String(in.readAllBytes()));
        }
    }
}
J
java=$(java Read.java)
echo "Java $java"
holds "Java reads it" contains "$java" "the records"

cat > read.go <<'G'
package main

import (
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"runtime"
)

func main() {
	file, _ := os.Open("padded.gz")
	reader, err := gzip.NewReader(file)
	if err != nil {
		panic(err)
	}
	data, err := io.ReadAll(reader)
	fmt.Println(runtime.Version(), string(data), err)
}
G
go=$(GOCACHE=$FOLDER/go GOFLAGS=-mod=mod go run read.go)
echo "Go $go"
holds "Go does not" contains "$go" "invalid header"

cargo init -q --vcs none --name read read
cat >> read/Cargo.toml <<'T'
flate2 = "=1.1.11"
T
cat > read/src/main.rs <<'R'
use std::io::Read;

fn main() {
    let bytes = std::fs::read("padded.gz").expect("a file");
    let mut out = String::new();
    let read = flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_string(&mut out);
    println!("1.1.11 {out:?} {read:?}");
}
R
rust=$(CARGO_TARGET_DIR=$FOLDER/target cargo run -q --manifest-path read/Cargo.toml)
echo "flate2 $rust"
holds "flate2 does not" contains "$rust" "Err("
