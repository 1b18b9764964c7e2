//! Which keys a file type has, found by asking its own `Deserialize`: nothing to keep in step by hand.
//!
//! A type tells its field names when it is deserialised as a struct. The probe walks to each path with a map of one
//! field, takes what the type asks for there, and stops. No value is ever built.

use std::{cell::Cell, collections::BTreeMap, fmt};

use serde::{
    Deserializer,
    de::{DeserializeOwned, DeserializeSeed, Error as _, MapAccess, Visitor, value::StrDeserializer},
};

/// What a key takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Bool,
    Number,
    Text,
    /// A list; as one text its elements are joined by commas.
    List,
    /// A map of free keys; as one text `k=v,k2=v2`.
    Map,
}

enum Found {
    Section(&'static [&'static str]),
    Leaf(Shape),
}

/// Deepest nesting of sections.
const DEPTH_LIMIT: usize = 8;

/// All keys of a file type with what they take; sections are joined by dots.
pub(super) fn keys<T: DeserializeOwned>() -> BTreeMap<String, Shape> {
    walk::<T>().into_iter().collect()
}

/// All key paths of a file type, in order of its fields: for reference pages and completion.
pub fn key_paths<T: DeserializeOwned>() -> Vec<String> {
    walk::<T>().into_iter().map(|(path, _)| path).collect()
}

fn walk<T: DeserializeOwned>() -> Vec<(String, Shape)> {
    let mut keys = Vec::new();
    visit::<T>(&mut Vec::new(), &mut keys);
    keys
}

fn visit<T: DeserializeOwned>(path: &mut Vec<&'static str>, keys: &mut Vec<(String, Shape)>) {
    let found = Cell::new(None);
    // The outcome is always `Stop`: the interesting part is what was noted on the way.
    let _stop = T::deserialize(Probe { path, found: &found });
    match found.take() {
        Some(Found::Section(fields)) if path.len() < DEPTH_LIMIT => {
            for field in fields {
                path.push(field);
                visit::<T>(path, keys);
                path.pop();
            }
        }
        Some(Found::Leaf(shape)) => keys.push((path.join("."), shape)),
        Some(Found::Section(_)) | None => {}
    }
}

#[derive(Debug)]
struct Stop;

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the probe has seen enough")
    }
}

impl std::error::Error for Stop {}

impl serde::de::Error for Stop {
    fn custom<T: fmt::Display>(_message: T) -> Self {
        Self
    }
}

struct Probe<'a> {
    path: &'a [&'static str],
    found: &'a Cell<Option<Found>>,
}

impl Probe<'_> {
    fn leaf<V>(&self, shape: Shape) -> Result<V, Stop> {
        if self.path.is_empty() {
            self.found.set(Some(Found::Leaf(shape)));
        }
        Err(Stop)
    }
}

macro_rules! leaves {
    ($($method:ident($($argument:ty),*) is $shape:ident;)*) => {$(
        fn $method<V: Visitor<'de>>(self, $(_: $argument,)* _: V) -> Result<V::Value, Stop> {
            self.leaf(Shape::$shape)
        }
    )*};
}

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = Stop;

    leaves! {
        deserialize_any() is Text;
        deserialize_bool() is Bool;
        deserialize_i8() is Number;
        deserialize_i16() is Number;
        deserialize_i32() is Number;
        deserialize_i64() is Number;
        deserialize_u8() is Number;
        deserialize_u16() is Number;
        deserialize_u32() is Number;
        deserialize_u64() is Number;
        deserialize_f32() is Number;
        deserialize_f64() is Number;
        deserialize_char() is Text;
        deserialize_str() is Text;
        deserialize_string() is Text;
        deserialize_bytes() is Text;
        deserialize_byte_buf() is Text;
        deserialize_unit() is Text;
        deserialize_unit_struct(&'static str) is Text;
        deserialize_seq() is List;
        deserialize_tuple(usize) is List;
        deserialize_tuple_struct(&'static str, usize) is List;
        deserialize_map() is Map;
        deserialize_enum(&'static str, &'static [&'static str]) is Text;
        deserialize_identifier() is Text;
        deserialize_ignored_any() is Text;
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Stop> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Stop> {
        match self.path.split_first() {
            None => {
                self.found.set(Some(Found::Section(fields)));
                Err(Stop)
            }
            Some((field, rest)) => {
                visitor.visit_map(OneField { field: Some(field), path: rest, found: self.found })
            }
        }
    }
}

/// A map that holds only the field on the way.
struct OneField<'a> {
    field: Option<&'static str>,
    path: &'a [&'static str],
    found: &'a Cell<Option<Found>>,
}

impl<'de> MapAccess<'de> for OneField<'_> {
    type Error = Stop;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Stop> {
        self.field.take().map(|field| seed.deserialize(StrDeserializer::new(field))).transpose()
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Stop> {
        seed.deserialize(Probe { path: self.path, found: self.found }).map_err(Stop::custom)
    }
}
