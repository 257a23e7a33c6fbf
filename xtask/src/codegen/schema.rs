//! The schemas as values. Knows the schema language, not Rust.

use serde_json::Value;

use super::names;

/// Versions a to b, both included; empty when a > b.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Versions {
    pub low: i16,
    pub high: i16,
}

pub const NONE: Versions = Versions { low: 0, high: -1 };

impl Versions {
    fn parse(text: &str) -> Result<Self, String> {
        let number = |t: &str| t.trim().parse::<i16>().map_err(|e| format!("{text}: {e}"));
        if text == "none" || text.is_empty() {
            return Ok(NONE);
        }
        if let Some(low) = text.strip_suffix('+') {
            return Ok(Self {
                low: number(low)?,
                high: i16::MAX,
            });
        }
        match text.split_once('-') {
            Some((low, high)) => Ok(Self {
                low: number(low)?,
                high: number(high)?,
            }),
            None => number(text).map(|only| Self {
                low: only,
                high: only,
            }),
        }
    }

    pub fn is_empty(self) -> bool {
        self.low > self.high
    }

    pub fn contains(self, version: i16) -> bool {
        self.low <= version && version <= self.high
    }

    pub fn and(self, other: Self) -> Self {
        let both = Self {
            low: self.low.max(other.low),
            high: self.high.min(other.high),
        };
        if both.is_empty() { NONE } else { both }
    }

    pub fn covers(self, other: Self) -> bool {
        self.low <= other.low && other.high <= self.high
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scalar {
    Bool,
    I8,
    I16,
    U16,
    I32,
    U32,
    I64,
    F64,
    Uuid,
    String,
    Bytes,
    Records,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Type {
    Scalar(Scalar),
    Struct(String),
    Array(Box<Type>),
}

impl Type {
    fn parse(text: &str) -> Self {
        if let Some(element) = text.strip_prefix("[]") {
            return Self::Array(Box::new(Self::parse(element)));
        }
        Self::Scalar(match text {
            "bool" => Scalar::Bool,
            "int8" => Scalar::I8,
            "int16" => Scalar::I16,
            "uint16" => Scalar::U16,
            "int32" => Scalar::I32,
            "uint32" => Scalar::U32,
            "int64" => Scalar::I64,
            "float64" => Scalar::F64,
            "uuid" => Scalar::Uuid,
            "string" => Scalar::String,
            "bytes" => Scalar::Bytes,
            "records" => Scalar::Records,
            name => return Self::Struct(name.to_owned()),
        })
    }

    /// The struct this type is or holds.
    pub fn struct_name(&self) -> Option<&str> {
        match self {
            Self::Scalar(_) => None,
            Self::Struct(name) => Some(name),
            Self::Array(element) => element.struct_name(),
        }
    }
}

#[derive(Debug)]
pub struct Field {
    pub name: String,
    pub ty: Type,
    pub versions: Versions,
    pub nullable: Versions,
    /// Some(none) for the one field that stays non-compact in a flexible version.
    pub never_compact: bool,
    pub tag: Option<u32>,
    /// The schema's default as text; "" when it gives none.
    pub default: String,
}

impl Field {
    pub fn optional(&self) -> bool {
        !self.nullable.is_empty()
    }
}

#[derive(Debug)]
pub struct Struct {
    pub name: String,
    pub fields: Vec<Field>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Request,
    Response,
    RequestHeader,
    ResponseHeader,
    Record,
}

#[derive(Debug)]
pub struct Message {
    pub name: String,
    pub kind: Kind,
    pub key: Option<i16>,
    pub valid: Versions,
    /// The highest version promised to stay as it is.
    pub stable_high: i16,
    pub flexible: Versions,
    pub on_broker: bool,
    /// The message itself first, then its structs in order of appearance.
    pub structs: Vec<Struct>,
}

impl Message {
    pub fn module(&self) -> String {
        names::snake(&self.name)
    }

    pub fn find(&self, name: &str) -> &Struct {
        self.structs
            .iter()
            .find(|s| s.name == name)
            .unwrap_or_else(|| panic!("{}: no struct {name}", self.name))
    }

    /// Whether a value of the struct can borrow from the frame.
    pub fn borrows(&self, name: &str) -> bool {
        self.find(name)
            .fields
            .iter()
            .any(|f| self.type_borrows(&f.ty))
    }

    pub fn type_borrows(&self, ty: &Type) -> bool {
        match ty {
            Type::Scalar(s) => matches!(s, Scalar::String | Scalar::Bytes | Scalar::Records),
            Type::Struct(name) => self.borrows(name),
            Type::Array(element) => self.type_borrows(element),
        }
    }

    /// Fewest bytes one value takes in any of the versions.
    pub fn min_size(&self, ty: &Type, versions: Versions) -> usize {
        let versions = versions.and(self.valid);
        (versions.low..=versions.high)
            .map(|v| self.size_at(ty, v, false, self.flexible.contains(v)))
            .min()
            .unwrap_or(1)
            .max(1)
    }

    fn size_at(&self, ty: &Type, version: i16, nullable: bool, compact: bool) -> usize {
        match ty {
            Type::Scalar(scalar) => match scalar {
                Scalar::Bool | Scalar::I8 => 1,
                Scalar::I16 | Scalar::U16 => 2,
                Scalar::I32 | Scalar::U32 => 4,
                Scalar::I64 | Scalar::F64 => 8,
                Scalar::Uuid => 16,
                _ if compact => 1,
                Scalar::String => 2,
                Scalar::Bytes | Scalar::Records => 4,
            },
            Type::Struct(_) if nullable => 1,
            Type::Array(_) => {
                if compact {
                    1
                } else {
                    4
                }
            }
            Type::Struct(name) => {
                let fields = self.find(name).fields.iter();
                let flexible = self.flexible.contains(version);
                fields
                    .filter(|f| f.tag.is_none() && f.versions.contains(version))
                    .map(|f| {
                        let nullable = f.nullable.contains(version);
                        self.size_at(&f.ty, version, nullable, flexible && !f.never_compact)
                    })
                    .sum::<usize>()
                    + usize::from(flexible)
            }
        }
    }
}

/// Reads one schema file: JSON whose lines may be `//` comments.
pub fn parse(text: &str) -> Result<Message, String> {
    let json: String = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .flat_map(|line| [line, "\n"])
        .collect();
    let root: Value = serde_json::from_str(&json).map_err(|e| e.to_string())?;
    let name = text_of(&root, "name")?;
    let kind = match text_of(&root, "type")?.as_str() {
        "request" => Kind::Request,
        "response" => Kind::Response,
        "header" if name == "RequestHeader" => Kind::RequestHeader,
        "header" => Kind::ResponseHeader,
        "data" | "metadata" | "coordinator-key" | "coordinator-value" => Kind::Record,
        other => return Err(format!("unknown type {other}")),
    };
    let valid = Versions::parse(&text_of(&root, "validVersions")?)?;
    let unstable = root["latestVersionUnstable"].as_bool().unwrap_or(false);
    let listeners = root["listeners"].as_array();
    let mut structs = vec![Struct {
        name: name.clone(),
        fields: Vec::new(),
    }];
    for common in root["commonStructs"].as_array().into_iter().flatten() {
        add_struct(
            &mut structs,
            text_of(common, "name")?,
            &common["fields"],
            valid,
        )?;
    }
    let fields = fields(&mut structs, &root["fields"], valid)?;
    structs[0].fields = fields;
    Ok(Message {
        kind,
        key: root["apiKey"]
            .as_i64()
            .and_then(|key| i16::try_from(key).ok()),
        valid,
        stable_high: if unstable { valid.high - 1 } else { valid.high },
        flexible: Versions::parse(&text_of(&root, "flexibleVersions")?)?,
        on_broker: listeners.is_some_and(|l| l.iter().any(|v| v == "broker")),
        structs,
        name,
    })
}

fn text_of(value: &Value, key: &str) -> Result<String, String> {
    value[key]
        .as_str()
        .map(str::to_owned)
        .ok_or_else(|| format!("no {key}"))
}

fn add_struct(
    structs: &mut Vec<Struct>,
    name: String,
    list: &Value,
    valid: Versions,
) -> Result<(), String> {
    let at = structs.len();
    if structs.iter().any(|s| s.name == name) {
        return Err(format!("struct {name} is defined twice"));
    }
    structs.push(Struct {
        name,
        fields: Vec::new(),
    });
    structs[at].fields = fields(structs, list, valid)?;
    Ok(())
}

fn fields(structs: &mut Vec<Struct>, list: &Value, valid: Versions) -> Result<Vec<Field>, String> {
    let mut out = Vec::new();
    for item in list.as_array().ok_or("no fields")? {
        let field = field(item)?;
        if let (Some(name), true) = (field.ty.struct_name(), item["fields"].is_array()) {
            add_struct(structs, name.to_owned(), &item["fields"], valid)?;
        }
        // A field no valid version carries is history, not part of the message.
        if !field.versions.and(valid).is_empty() {
            out.push(Field {
                nullable: field.nullable.and(valid),
                ..field
            });
        }
    }
    Ok(out)
}

fn field(item: &Value) -> Result<Field, String> {
    let versions = |key: &str| item[key].as_str().map_or(Ok(NONE), Versions::parse);
    let name = text_of(item, "name")?;
    let tagged = versions("taggedVersions")?;
    let present = if item["versions"].is_string() {
        versions("versions")?
    } else {
        tagged
    };
    if !tagged.is_empty() && tagged != present {
        return Err(format!("{name} is tagged in only some of its versions"));
    }
    Ok(Field {
        ty: Type::parse(&text_of(item, "type")?),
        versions: present,
        nullable: versions("nullableVersions")?.and(present),
        never_compact: item["flexibleVersions"] == "none",
        tag: item["tag"].as_u64().and_then(|tag| u32::try_from(tag).ok()),
        default: match &item["default"] {
            Value::String(text) => text.clone(),
            // Kafka's generator reads an unquoted null as no default at all.
            Value::Null => String::new(),
            other => other.to_string(),
        },
        name,
    })
}
