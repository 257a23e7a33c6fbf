//! Kafka's message schemas, interpreted: JSON trees to bytes and back for any message and version.
//!
//! Slow and simple on purpose. It shares no code with the generated structs, so that a mistake there cannot hide by being
//! made twice. The trees have the form of Kafka's own JsonConverter; a field missing in a tree to encode has its default,
//! one that the version lacks is left out.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// Why a tree or some bytes do not fit their schema.
pub type Error = String;

/// All schemas of a directory, by name.
pub struct Schemas {
    by_name: BTreeMap<String, Value>,
}

pub(crate) struct Context<'a> {
    pub(crate) version: i16,
    flexible: bool,
    common: &'a Value,
}

impl Schemas {
    /// Reads every `*.json` in the folders of `dir`.
    pub fn load(dir: &Path) -> Result<Self, Error> {
        let mut by_name = BTreeMap::new();
        let entries =
            |path: &Path| std::fs::read_dir(path).map_err(|e| format!("{}: {e}", path.display()));
        for folder in entries(dir)? {
            let folder = folder.map_err(|e| e.to_string())?.path();
            for file in entries(&folder)? {
                let file = file.map_err(|e| e.to_string())?.path();
                let text = std::fs::read_to_string(&file)
                    .map_err(|e| format!("{}: {e}", file.display()))?;
                let schema: Value =
                    serde_json::from_str(&text).map_err(|e| format!("{}: {e}", file.display()))?;
                by_name.insert(text_of(&schema["name"]).to_owned(), schema);
            }
        }
        Ok(Self { by_name })
    }

    /// The schemas of this repository.
    pub fn of_this_repository() -> Result<Self, Error> {
        Self::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schema"))
    }

    /// Names of all messages, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }

    /// The API key of `api` ("Metadata", not "MetadataRequest").
    pub fn api_key(&self, api: &str) -> Result<i16, Error> {
        let key = self.schema(&format!("{api}Request"))?["apiKey"].as_i64();
        key.and_then(|key| i16::try_from(key).ok())
            .ok_or_else(|| format!("{api} has no key"))
    }

    /// Whether this version of a message has compact lengths and tagged fields.
    pub fn is_flexible(&self, message: &str, version: i16) -> Result<bool, Error> {
        Ok(in_range(
            &self.schema(message)?["flexibleVersions"],
            version,
        ))
    }

    fn schema(&self, message: &str) -> Result<&Value, Error> {
        self.by_name
            .get(message)
            .ok_or_else(|| format!("no schema {message}"))
    }

    pub(crate) fn fields(&self, message: &str) -> Result<&Value, Error> {
        Ok(&self.schema(message)?["fields"])
    }

    pub(crate) fn context(&self, message: &str, version: i16) -> Result<Context<'_>, Error> {
        Ok(Context {
            version,
            flexible: self.is_flexible(message, version)?,
            common: &self.schema(message)?["commonStructs"],
        })
    }

    /// The bytes of a tree.
    pub fn encode(&self, message: &str, version: i16, tree: &Value) -> Result<Vec<u8>, Error> {
        let context = self.context(message, version)?;
        let mut out = Vec::new();
        context
            .encode_struct(self.fields(message)?, tree, &mut out)
            .map_err(|e| format!("{message} v{version}: {e}"))?;
        Ok(out)
    }

    /// The tree of some bytes, which must be used up.
    pub fn decode(&self, message: &str, version: i16, bytes: &[u8]) -> Result<Value, Error> {
        let context = self.context(message, version)?;
        let mut input = Input { rest: bytes };
        let tree = context
            .decode_struct(self.fields(message)?, &mut input)
            .map_err(|e| format!("{message} v{version}: {e}"))?;
        if !input.rest.is_empty() {
            return Err(format!(
                "{message} v{version}: {} bytes left over",
                input.rest.len()
            ));
        }
        Ok(tree)
    }
}

impl<'a> Context<'a> {
    pub(crate) fn fields_of(&self, field: &'a Value, kind: &str) -> Option<&'a Value> {
        if field["fields"].is_array() {
            return Some(&field["fields"]);
        }
        self.common
            .as_array()?
            .iter()
            .find(|s| s["name"] == kind)
            .map(|s| &s["fields"])
    }

    fn nullable(&self, field: &Value) -> bool {
        in_range(&field["nullableVersions"], self.version)
    }

    fn tag_of(&self, field: &Value) -> Option<u64> {
        in_range(&field["taggedVersions"], self.version)
            .then(|| field["tag"].as_u64())
            .flatten()
    }

    /// ClientId in the request header is the one field that stays as it was in flexible versions.
    fn flexible_at(&self, field: &Value) -> bool {
        self.flexible && field["flexibleVersions"] != "none"
    }

    fn default_of(&self, field: &'a Value) -> Value {
        let kind = text_of(&field["type"]);
        let default = &field["default"];
        if self.nullable(field) && default == "null" {
            return Value::Null;
        }
        if kind.starts_with("[]") {
            return json!([]);
        }
        if let Some(fields) = self.fields_of(field, kind) {
            let fields = fields
                .as_array()
                .into_iter()
                .flatten()
                .filter(|f| has_version(f, self.version));
            return Value::Object(fields.map(|f| (key_of(f), self.default_of(f))).collect());
        }
        let text = match default {
            Value::String(text) if text != "null" => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Bool(flag) => flag.to_string(),
            _ => String::new(),
        };
        match kind {
            "bool" => json!(text == "true"),
            "string" => json!(text),
            "bytes" | "records" => json!(""),
            "uuid" => json!("AAAAAAAAAAAAAAAAAAAAAA"),
            "float64" => json!(text.parse::<f64>().unwrap_or(0.0)),
            _ => match text.strip_prefix("0x") {
                Some(hex) => json!(i64::from_str_radix(hex, 16).unwrap_or(0)),
                None => json!(text.parse::<i64>().unwrap_or(0)),
            },
        }
    }

    fn encode_struct(
        &self,
        fields: &'a Value,
        tree: &Value,
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        if let Some(name) = unknown_field(fields, tree) {
            return Err(format!("no field {name}"));
        }
        let mut tagged = BTreeMap::new();
        for field in fields
            .as_array()
            .into_iter()
            .flatten()
            .filter(|f| has_version(f, self.version))
        {
            let default = self.default_of(field);
            let value = tree.get(key_of(field)).unwrap_or(&default);
            match self.tag_of(field) {
                None => self
                    .encode_value(field, text_of(&field["type"]), value, out)
                    .map_err(|e| format!("{}: {e}", key_of(field)))?,
                Some(tag) if *value != default => {
                    let mut bytes = Vec::new();
                    let is_struct = self.fields_of(field, text_of(&field["type"])).is_some();
                    if is_struct && self.nullable(field) && value.is_null() {
                        // A nullable struct that is tagged says null with 0, one that is not tagged with -1.
                        bytes.push(0);
                    } else {
                        self.encode_value(field, text_of(&field["type"]), value, &mut bytes)?;
                    }
                    tagged.insert(tag, bytes);
                }
                Some(_) => {}
            }
        }
        if self.flexible {
            put_varint(out, tagged.len() as u64);
            for (tag, bytes) in tagged {
                put_varint(out, tag);
                put_varint(out, bytes.len() as u64);
                out.extend_from_slice(&bytes);
            }
        }
        Ok(())
    }

    fn put_length(
        &self,
        field: &Value,
        length: Option<usize>,
        short: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        if self.flexible_at(field) {
            put_varint(out, length.map_or(0, |l| l as u64 + 1));
        } else if short {
            let length = length.map_or(Ok(-1), |l| i16::try_from(l).map_err(|e| e.to_string()))?;
            out.extend_from_slice(&length.to_be_bytes());
        } else {
            let length = length.map_or(Ok(-1), |l| i32::try_from(l).map_err(|e| e.to_string()))?;
            out.extend_from_slice(&length.to_be_bytes());
        }
        Ok(())
    }

    fn encode_value(
        &self,
        field: &'a Value,
        kind: &str,
        value: &Value,
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        if let Some(element) = kind.strip_prefix("[]") {
            let Some(elements) = value.as_array() else {
                return self.put_length(field, None, false, out);
            };
            self.put_length(field, Some(elements.len()), false, out)?;
            for value in elements {
                match self.fields_of(field, element) {
                    Some(fields) => self.encode_struct(fields, value, out)?,
                    None => self.encode_value(field, element, value, out)?,
                }
            }
            return Ok(());
        }
        if let Some(fields) = self.fields_of(field, kind) {
            if self.nullable(field) {
                out.push(if value.is_null() { 0xff } else { 1 });
                if value.is_null() {
                    return Ok(());
                }
            }
            return self.encode_struct(fields, value, out);
        }
        let number = || {
            value
                .as_i64()
                .ok_or_else(|| format!("{value} is not a number"))
        };
        match kind {
            "bool" => out.push(u8::from(value.as_bool().ok_or("not a bool")?)),
            "int8" => out.extend_from_slice(&(number()? as i8).to_be_bytes()),
            "int16" | "uint16" => out.extend_from_slice(&(number()? as u16).to_be_bytes()),
            "int32" | "uint32" => out.extend_from_slice(&(number()? as u32).to_be_bytes()),
            "int64" => out.extend_from_slice(&number()?.to_be_bytes()),
            "float64" => {
                out.extend_from_slice(&value.as_f64().ok_or("not a number")?.to_be_bytes())
            }
            "uuid" => {
                let bytes = URL_SAFE_NO_PAD
                    .decode(value.as_str().ok_or("not a uuid")?)
                    .map_err(|e| e.to_string())?;
                let bytes: [u8; 16] = bytes.try_into().map_err(|_| "a uuid has 16 bytes")?;
                out.extend_from_slice(&bytes);
            }
            "string" => {
                self.put_length(field, value.as_str().map(str::len), true, out)?;
                out.extend_from_slice(value.as_str().unwrap_or("").as_bytes());
            }
            "bytes" | "records" => {
                let bytes = value
                    .as_str()
                    .map(|text| STANDARD.decode(text))
                    .transpose()
                    .map_err(|e| e.to_string())?;
                self.put_length(field, bytes.as_ref().map(Vec::len), false, out)?;
                out.extend_from_slice(&bytes.unwrap_or_default());
            }
            other => return Err(format!("no type {other}")),
        }
        Ok(())
    }

    fn decode_struct(&self, fields: &'a Value, input: &mut Input) -> Result<Value, Error> {
        let mut out = Map::new();
        let present = || {
            fields
                .as_array()
                .into_iter()
                .flatten()
                .filter(|f| has_version(f, self.version))
        };
        for field in present().filter(|f| self.tag_of(f).is_none()) {
            let value = self.decode_value(field, text_of(&field["type"]), input);
            out.insert(
                key_of(field),
                value.map_err(|e| format!("{}: {e}", key_of(field)))?,
            );
        }
        if self.flexible {
            for _ in 0..input.varint()? {
                let tag = input.varint()?;
                let length = usize::try_from(input.varint()?).map_err(|e| e.to_string())?;
                let mut input = Input {
                    rest: input.take(length)?,
                };
                let Some(field) = present().find(|f| self.tag_of(f) == Some(tag)) else {
                    continue;
                };
                let null = self.nullable(field)
                    && self.fields_of(field, text_of(&field["type"])).is_some()
                    && input.rest == [0];
                let value = if null {
                    Value::Null
                } else {
                    self.decode_value(field, text_of(&field["type"]), &mut input)?
                };
                out.insert(key_of(field), value);
            }
        }
        Ok(Value::Object(out))
    }

    fn length(
        &self,
        field: &Value,
        short: bool,
        input: &mut Input,
    ) -> Result<Option<usize>, Error> {
        let length = if self.flexible_at(field) {
            i64::try_from(input.varint()?).map_err(|e| e.to_string())? - 1
        } else if short {
            i64::from(i16::from_be_bytes(input.array()?))
        } else {
            i64::from(i32::from_be_bytes(input.array()?))
        };
        Ok(usize::try_from(length).ok())
    }

    fn decode_value(
        &self,
        field: &'a Value,
        kind: &str,
        input: &mut Input,
    ) -> Result<Value, Error> {
        if let Some(element) = kind.strip_prefix("[]") {
            let Some(length) = self.length(field, false, input)? else {
                return Ok(Value::Null);
            };
            let mut out = Vec::new();
            for _ in 0..length {
                out.push(match self.fields_of(field, element) {
                    Some(fields) => self.decode_struct(fields, input)?,
                    None => self.decode_value(field, element, input)?,
                });
            }
            return Ok(Value::Array(out));
        }
        if let Some(fields) = self.fields_of(field, kind) {
            if self.nullable(field) && i8::from_be_bytes(input.array()?) < 0 {
                return Ok(Value::Null);
            }
            return self.decode_struct(fields, input);
        }
        Ok(match kind {
            "bool" => json!(input.array::<1>()? != [0]),
            "int8" => json!(i8::from_be_bytes(input.array()?)),
            "int16" => json!(i16::from_be_bytes(input.array()?)),
            "uint16" => json!(u16::from_be_bytes(input.array()?)),
            "int32" => json!(i32::from_be_bytes(input.array()?)),
            "uint32" => json!(u32::from_be_bytes(input.array()?)),
            "int64" => json!(i64::from_be_bytes(input.array()?)),
            "float64" => json!(f64::from_be_bytes(input.array()?)),
            "uuid" => json!(URL_SAFE_NO_PAD.encode(input.take(16)?)),
            "string" => match self.length(field, true, input)? {
                Some(length) => {
                    json!(std::str::from_utf8(input.take(length)?).map_err(|e| e.to_string())?)
                }
                None => Value::Null,
            },
            "bytes" | "records" => match self.length(field, false, input)? {
                Some(length) => json!(STANDARD.encode(input.take(length)?)),
                None => Value::Null,
            },
            other => return Err(format!("no type {other}")),
        })
    }
}

struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Error> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or("ends early")?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        self.take(N)?
            .try_into()
            .map_err(|_| "ends early".to_owned())
    }

    fn varint(&mut self) -> Result<u64, Error> {
        let mut value = 0;
        for shift in (0..35).step_by(7) {
            let [byte] = self.array()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err("varint too long".into())
    }
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(crate) fn text_of(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}

pub(crate) fn key_of(field: &Value) -> String {
    let name = text_of(&field["name"]);
    name[..1].to_lowercase() + &name[1..]
}

/// A scenario's typo must not pass as a default.
fn unknown_field(fields: &Value, tree: &Value) -> Option<String> {
    let known: Vec<_> = fields.as_array()?.iter().map(key_of).collect();
    tree.as_object()?
        .keys()
        .find(|key| !known.contains(key))
        .cloned()
}

pub(crate) fn has_version(field: &Value, version: i16) -> bool {
    in_range(
        if field["versions"].is_string() {
            &field["versions"]
        } else {
            &field["taggedVersions"]
        },
        version,
    )
}

fn in_range(range: &Value, version: i16) -> bool {
    let Some(text) = range.as_str().filter(|text| *text != "none") else {
        return false;
    };
    if let Some(from) = text.strip_suffix('+') {
        return from.parse::<i16>().is_ok_and(|from| version >= from);
    }
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    from.parse::<i16>().is_ok_and(|from| version >= from)
        && to.parse::<i16>().is_ok_and(|to| version <= to)
}
