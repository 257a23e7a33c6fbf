//! One struct's decode method.

use std::fmt::Write;

use super::emit::{
    Context, bind_flexible, by_name, default, flexible_of, gate, has_length, method, parameters,
    presence_of, tagged,
};
use super::names;
use super::schema::{Field, Message, Type};

/// The decode method of one struct.
pub fn method_of(context: &Context) -> String {
    let flexible = context.flexible();
    let tags = tagged(context);
    let mut literal = String::from("Self {\n");
    for field in &context.item.fields {
        let name = names::field(&field.name);
        let absent = default(field).0;
        let value = match (field.tag, context.condition(field.versions)) {
            (Some(_), _) => absent,
            (None, None) => read_field(context, field),
            (None, Some(condition)) => format!(
                "if {condition} {{ {} }} else {{ {absent} }}",
                read_field(context, field)
            ),
        };
        let _ = writeln!(literal, "{name}: {value},");
    }
    literal += "}";
    let mut body = String::new();
    if flexible == "false" {
        let _ = writeln!(body, "Ok({literal})");
    } else {
        let binding = if tags.is_empty() {
            "let out"
        } else {
            "let mut out"
        };
        let _ = writeln!(body, "{binding} = {literal};");
        let skip = if tags.is_empty() {
            "r.skip_tags()?;".to_owned()
        } else {
            let mut arms = String::new();
            for (tag, name) in &tags {
                let field = by_name(context, name);
                let guard = match context.condition(field.versions) {
                    Some(condition) => format!(" if {condition}"),
                    None => String::new(),
                };
                let place = names::field(name);
                let value = read_field(context, field);
                let _ = writeln!(arms, "{tag}{guard} => out.{place} = {value},");
            }
            format!(
                "r.tags(|r, tag| {{ match tag {{ {arms} _ => return Ok(false), }} Ok(true) }})?;"
            )
        };
        if flexible == "true" {
            body += &skip;
        } else {
            let _ = write!(body, "if flexible {{ {skip} }}");
        }
        body += "\nOk(out)\n";
    }
    let body = bind_flexible(&flexible, body);
    let body = context.version_check("crate::codec") + &body;
    let (reader, version) = parameters(&body, "r");
    let lifetime = if context.generics().is_empty() {
        "'_"
    } else {
        "'a"
    };
    format!(
        "{}pub fn decode({reader}: &mut Reader<{lifetime}>, {version}: i16) -> Result<Self, DecodeError> {{\n{body}}}\n\n",
        gate(context.message, false)
    )
}

fn read(message: &Message, field: &Field, nullable: bool) -> String {
    let flexible = flexible_of(field);
    let prefix = if nullable { "nullable_" } else { "" };
    match &field.ty {
        Type::Scalar(s) if has_length(*s) => format!("r.{prefix}{}({flexible})?", method(*s)),
        Type::Scalar(s) => format!("r.{}()?", method(*s)),
        Type::Struct(name) if nullable => {
            let presence = presence_of(field);
            format!("r.{presence}(|r| {name}::decode(r, version))?")
        }
        Type::Struct(name) => format!("{name}::decode(r, version)?"),
        Type::Array(element) => {
            let size = message.min_size(element, field.versions);
            let element = match element.as_ref() {
                Type::Scalar(s) if has_length(*s) => format!("|r| r.{}({flexible})", method(*s)),
                Type::Scalar(s) => format!("Reader::{}", method(*s)),
                Type::Struct(name) => format!("|r| {name}::decode(r, version)"),
                Type::Array(_) => panic!("{}: array of arrays", field.name),
            };
            format!("r.{prefix}array({flexible}, {size}, {element})?")
        }
    }
}

fn read_field(context: &Context, field: &Field) -> String {
    if !field.optional() {
        return read(context.message, field, false);
    }
    match context.null_condition(field) {
        None => read(context.message, field, true),
        Some(condition) => format!(
            "if {condition} {{ {} }} else {{ Some({}) }}",
            read(context.message, field, true),
            read(context.message, field, false)
        ),
    }
}
