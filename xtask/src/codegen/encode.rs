//! One struct's encode method.

use std::fmt::Write;

use super::emit::{
    Context, bind_flexible, by_name, flexible_of, gate, has_length, method, not_default,
    parameters, presence_of, tagged,
};
use super::names;
use super::schema::{Field, Scalar, Type, Versions};

fn write(field: &Field, nullable: bool) -> String {
    let place = format!("self.{}", names::field(&field.name));
    let flexible = flexible_of(field);
    let optional = field.optional();
    let prefix = if nullable { "nullable_" } else { "" };
    let slice = match (nullable, optional) {
        (true, _) => format!("{place}.as_deref()"),
        (false, true) => format!("{place}.as_deref().unwrap_or_default()"),
        (false, false) => format!("&{place}"),
    };
    match &field.ty {
        Type::Scalar(Scalar::Records) => match (nullable, optional) {
            (true, _) => format!("w.nullable_records({place}.as_ref(), {flexible})"),
            (false, true) => {
                format!("w.records({place}.as_ref().unwrap_or(&Records::default()), {flexible})")
            }
            (false, false) => format!("w.records(&{place}, {flexible})"),
        },
        Type::Scalar(s) if has_length(*s) => {
            format!("w.{prefix}{}({slice}, {flexible})", method(*s))
        }
        Type::Scalar(s) => format!("w.{}({place})", method(*s)),
        Type::Struct(_) if nullable => {
            let presence = presence_of(field);
            format!("w.{presence}({place}.as_ref(), |w, v| v.encode(w, version))")
        }
        Type::Struct(_) if optional => {
            format!("{place}.clone().unwrap_or_default().encode(w, version)")
        }
        Type::Struct(_) => format!("{place}.encode(w, version)"),
        Type::Array(element) => {
            let element = match element.as_ref() {
                Type::Scalar(s) if has_length(*s) => format!("w.{}(v, {flexible})", method(*s)),
                Type::Scalar(s) => format!("w.{}(*v)", method(*s)),
                _ => "v.encode(w, version)".to_owned(),
            };
            format!("w.{prefix}array({slice}, {flexible}, |w, v| {element})")
        }
    }
}

fn write_field(context: &Context, field: &Field) -> String {
    if !field.optional() {
        return write(field, false) + ";";
    }
    match context.null_condition(field) {
        None => write(field, true) + ";",
        Some(condition) => format!(
            "if {condition} {{ {}; }} else {{ {}; }}",
            write(field, true),
            write(field, false)
        ),
    }
}

/// The encode method of one struct.
pub fn method_of(context: &Context) -> String {
    let flexible = context.flexible();
    let mut body = String::new();
    for field in context.item.fields.iter().filter(|f| f.tag.is_none()) {
        let statement = write_field(context, field);
        let _ = match context.condition(field.versions) {
            None => writeln!(body, "{statement}"),
            Some(condition) => writeln!(body, "if {condition} {{ {statement} }}"),
        };
    }
    let tags = tagged(context);
    let mut tail = String::new();
    if tags.is_empty() {
        tail += "w.uvarint(0);\n";
    } else {
        let (mut count, mut writes) = (Vec::new(), String::new());
        for (tag, name) in &tags {
            let field = by_name(context, name);
            let wanted = not_default(field);
            let wanted = match context.condition(field.versions) {
                Some(condition) => format!("{condition} && {wanted}"),
                None => wanted,
            };
            let flag = format!("has_{}", names::snake(name));
            let _ = writeln!(tail, "let {flag} = {wanted};");
            count.push(format!("u32::from({flag})"));
            let statement = write_field(context, field);
            let _ = writeln!(
                writes,
                "if {flag} {{ w.tag({tag}, |w| {{ {statement} }}); }}"
            );
        }
        let _ = writeln!(tail, "w.uvarint({});\n{writes}", count.join(" + "));
    }
    match flexible.as_str() {
        "false" => {}
        "true" => body += &tail,
        _ => {
            let _ = writeln!(body, "if flexible {{ {tail} }}");
        }
    }
    let mut body = bind_flexible(&flexible, body);
    if context.is_root() {
        let Versions { low, high } = context.message.valid;
        let name = &context.message.name;
        let range = if low == high {
            format!("assert_eq!(version, {low}, \"{name}\");")
        } else {
            format!("assert!(({low}..={high}).contains(&version), \"{name} v{{version}}\");")
        };
        body = format!("{range}\n{body}");
    }
    let (writer, version) = parameters(&body, "w");
    format!(
        "{}pub fn encode(&self, {writer}: &mut Writer, {version}: i16) {{\n{body}}}\n\n",
        gate(context.message, true)
    )
}
