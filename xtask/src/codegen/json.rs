//! One struct's to_json and from_json, in the shape of Kafka's JsonConverter.

use std::fmt::Write;

use super::emit::{Context, default, method, not_default, uses_version};
use super::names;
use super::schema::{Field, Scalar, Type};

/// The impl block behind the `json` feature.
pub fn methods(context: &Context) -> String {
    let (own, generics) = (context.self_type("'a"), context.generics());
    let (to, from) = (to_json(context), from_json(context));
    format!("#[cfg(feature = \"json\")]\nimpl{generics} {own} {{\n{to}{from}}}\n\n")
}

fn to_json(context: &Context) -> String {
    let mut body = String::new();
    for field in &context.item.fields {
        let name = names::camel(&field.name);
        let put = format!("crate::json::put(&mut map, {name:?}, {});", value_of(field));
        let mut conditions: Vec<String> = context.condition(field.versions).into_iter().collect();
        if field.tag.is_some() {
            conditions.push(not_default(field));
        }
        let _ = if conditions.is_empty() {
            writeln!(body, "{put}")
        } else {
            writeln!(body, "if {} {{ {put} }}", conditions.join(" && "))
        };
    }
    let version = if uses_version(&body) {
        "version"
    } else {
        "_version"
    };
    let map = if body.is_empty() { "map" } else { "mut map" };
    format!(
        "pub fn to_json(&self, {version}: i16) -> serde_json::Value {{\nlet {map} = serde_json::Map::new();\n{body}serde_json::Value::Object(map)\n}}\n\n"
    )
}

fn value_of(field: &Field) -> String {
    let place = format!("self.{}", names::field(&field.name));
    if field.optional() {
        let inner = reference("v", &field.ty);
        return format!("crate::json::of_nullable({place}.as_ref(), |v| {inner})");
    }
    match &field.ty {
        Type::Scalar(Scalar::Uuid) => format!("crate::json::of_uuid({place})"),
        Type::Scalar(Scalar::String) => format!("serde_json::Value::from(&*{place})"),
        Type::Scalar(Scalar::Bytes) => format!("crate::json::of_bytes(&{place})"),
        Type::Scalar(Scalar::Records) => format!("crate::json::of_records(&{place})"),
        Type::Scalar(_) => format!("serde_json::Value::from({place})"),
        Type::Struct(_) => format!("{place}.to_json(version)"),
        Type::Array(element) => {
            format!(
                "crate::json::of_array(&{place}, |v| {})",
                reference("v", element)
            )
        }
    }
}

/// The JSON of what `name` refers to.
fn reference(name: &str, ty: &Type) -> String {
    match ty {
        Type::Scalar(Scalar::Uuid) => format!("crate::json::of_uuid(*{name})"),
        Type::Scalar(Scalar::String) => format!("serde_json::Value::from(&**{name})"),
        Type::Scalar(Scalar::Bytes) => format!("crate::json::of_bytes({name})"),
        Type::Scalar(Scalar::Records) => format!("crate::json::of_records({name})"),
        Type::Scalar(_) => format!("serde_json::Value::from(*{name})"),
        Type::Struct(_) => format!("{name}.to_json(version)"),
        Type::Array(element) => {
            format!(
                "crate::json::of_array({name}, |v| {})",
                reference("v", element)
            )
        }
    }
}

fn from_json(context: &Context) -> String {
    let mut body = String::new();
    for field in &context.item.fields {
        let key = names::camel(&field.name);
        let absent = default(field).0;
        let value = if field.tag.is_some() {
            format!(
                "match tree.get({key:?}) {{ Some(v) => {}, None => {absent} }}",
                parse(field, "v")
            )
        } else {
            parse(field, &format!("crate::json::field(tree, {key:?})?"))
        };
        let value = match context.condition(field.versions) {
            Some(condition) => format!("if {condition} {{ {value} }} else {{ {absent} }}"),
            None => value,
        };
        let _ = writeln!(body, "{}: {value},", names::field(&field.name));
    }
    let check = context.version_check("crate::json");
    let tree = if body.contains("tree") {
        "tree"
    } else {
        "_tree"
    };
    let version = if uses_version(&(check.clone() + &body)) {
        "version"
    } else {
        "_version"
    };
    format!(
        "pub fn from_json({tree}: &serde_json::Value, {version}: i16) -> Result<Self, crate::json::JsonError> {{\n{check}Ok(Self {{\n{body}}})\n}}\n"
    )
}

fn parse(field: &Field, source: &str) -> String {
    if field.optional() {
        return format!("crate::json::nullable({source}, {})?", function(&field.ty));
    }
    match &field.ty {
        Type::Scalar(scalar) => format!("crate::json::{}({source})?", method(*scalar)),
        Type::Struct(name) => format!("{name}::from_json({source}, version)?"),
        Type::Array(element) => format!("crate::json::array({source}, {})?", function(element)),
    }
}

/// A function from a tree to the type.
fn function(ty: &Type) -> String {
    match ty {
        Type::Scalar(scalar) => format!("crate::json::{}", method(*scalar)),
        Type::Struct(name) => format!("|v| {name}::from_json(v, version)"),
        Type::Array(element) => format!("|v| crate::json::array(v, {})", function(element)),
    }
}
