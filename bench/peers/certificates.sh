#!/bin/bash
# certificates FOLDER: an authority (ca.pem) and a certificate for localhost with its key (own.pem), on P-256.
certificates() {
  local name=/CN=localhost curve="-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
  (
    cd "$1" || exit 1
    openssl req -x509 $curve -keyout ca.key -out ca.pem -subj /CN=bench -days 2 &&
      openssl req -new $curve -keyout own.key -out own.csr -subj $name &&
      openssl x509 -req -in own.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -out own.crt \
        -extfile <(echo subjectAltName=DNS:localhost) &&
      cat own.key own.crt > own.pem
  ) 2> "$1/openssl.log"
}
