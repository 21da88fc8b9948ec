//! Any serialisable value as a sequence of parts in a hash.
//!
//! A part is its length and its bytes: a number in little endian, an id, a text. Marks say how parts belong together: the
//! name of a field, where a struct begins and ends, the length of a list, the variant of an enum. A mark looks like a
//! length that no part can have, so two different values of a type never give the same sequence. A field without a
//! value (`None`) gives nothing, not even its name.
//!
//! The fields in [`OLDEST`] are older than the marks. Their fingerprints are stored, so they stay as they were.

use serde::ser::{
    Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};
use sha2::digest::Output;
use sha2::{Digest, Sha256};

/// Only a type that writes itself may refuse.
type Error = serde::de::value::Error;
type Written = Result<(), Error>;

/// Structs, and their fields, that have no marks: what is told apart by its order alone, for nothing in it is optional but
/// the last. A field that is added to one of them is told with the name of the struct.
const OLDEST: &[(&str, &[&str])] = &[
    ("NewOrder", &["lines", "address_id"]),
    ("NewLine", &["product_id", "quantity"]),
    ("Checkout", &["address_id"]),
    ("NewPayment", &["method"]),
];

#[derive(Debug, Default)]
pub(super) struct Encoder {
    hash: Sha256,
    /// Whose value comes next, as long as nothing of it was written.
    field: Option<Field>,
}

#[derive(Debug, Clone, Copy)]
enum Field {
    Named(&'static str),
    /// Added to one of the oldest structs.
    Added(&'static str, &'static str),
    /// One of the oldest.
    Unnamed,
}

/// The fields of a struct.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    encoder: &'a mut Encoder,
    /// Its name and its fields, if it is one of the oldest.
    oldest: Option<(&'static str, &'static [&'static str])>,
}

/// In the highest bits of a mark; no part is so long.
#[derive(Debug, Clone, Copy)]
enum Mark {
    Name = 0b100,
    List = 0b101,
    Struct = 0b110,
    Absent = 0b111,
}

impl Encoder {
    pub(super) fn finish(self) -> Output<Sha256> {
        self.hash.finalize()
    }

    fn part(&mut self, bytes: &[u8]) {
        self.begin_value();
        self.hash.update(length(bytes.len()).to_le_bytes());
        self.hash.update(bytes);
    }

    fn mark(&mut self, mark: Mark, length: u64) {
        let kind = u64::from(mark as u8) << 61;
        self.hash.update((kind | length).to_le_bytes());
    }

    fn name(&mut self, name: &str) {
        self.begin_value();
        self.mark(Mark::Name, length(name.len()));
        self.hash.update(name);
    }

    /// The length of one of the oldest lists is not told.
    fn list(&mut self, items: usize) {
        if !matches!(self.begin_value(), Some(Field::Unnamed)) {
            self.mark(Mark::List, length(items));
        }
    }

    /// There is a value, so its field is told.
    fn begin_value(&mut self) -> Option<Field> {
        let field = self.field.take();
        match field {
            Some(Field::Named(name)) => self.name(name),
            Some(Field::Added(to, name)) => {
                self.name(to);
                self.name(name);
            }
            Some(Field::Unnamed) | None => {}
        }
        field
    }
}

fn length(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX >> 3)
}

macro_rules! numbers {
    ($($method:ident: $number:ty),+) => {
        $(
            fn $method(self, number: $number) -> Written {
                self.part(&number.to_le_bytes());
                Ok(())
            }
        )+
    };
}

impl<'a> Serializer for &'a mut Encoder {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = Self;
    type SerializeStruct = Fields<'a>;
    type SerializeStructVariant = Fields<'a>;

    numbers! {
        serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64,
        serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64,
        serialize_f32: f32, serialize_f64: f64
    }

    /// An id is its 16 bytes and not its letters.
    fn is_human_readable(&self) -> bool {
        false
    }

    fn serialize_bool(self, it: bool) -> Written {
        self.part(&[it.into()]);
        Ok(())
    }

    fn serialize_char(self, it: char) -> Written {
        self.serialize_str(it.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, text: &str) -> Written {
        self.part(text.as_bytes());
        Ok(())
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Written {
        self.part(bytes);
        Ok(())
    }

    /// A field is left out; an item of a list is not.
    fn serialize_none(self) -> Written {
        if self.field.take().is_none() {
            self.mark(Mark::Absent, 0);
        }
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Written {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Written {
        self.serialize_none()
    }

    fn serialize_unit_struct(self, _: &'static str) -> Written {
        self.serialize_none()
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Written {
        self.name(variant);
        Ok(())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Written {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Written {
        self.name(variant);
        value.serialize(self)
    }

    fn serialize_seq(self, items: Option<usize>) -> Result<Self, Error> {
        let unknown = || serde::ser::Error::custom("a list of unknown length");
        self.list(items.ok_or_else(unknown)?);
        Ok(self)
    }

    fn serialize_tuple(self, items: usize) -> Result<Self, Error> {
        self.serialize_seq(Some(items))
    }

    fn serialize_tuple_struct(self, _: &'static str, items: usize) -> Result<Self, Error> {
        self.serialize_seq(Some(items))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        items: usize,
    ) -> Result<Self, Error> {
        self.name(variant);
        self.serialize_seq(Some(items))
    }

    fn serialize_map(self, entries: Option<usize>) -> Result<Self, Error> {
        self.serialize_seq(entries)
    }

    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Fields<'a>, Error> {
        let oldest = OLDEST.iter().find(|(it, _)| *it == name).copied();
        self.begin_value();
        Ok(Fields::begin(self, oldest))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Fields<'a>, Error> {
        self.name(variant);
        Ok(Fields::begin(self, None))
    }
}

impl<'a> Fields<'a> {
    fn begin(
        encoder: &'a mut Encoder,
        oldest: Option<(&'static str, &'static [&'static str])>,
    ) -> Self {
        if oldest.is_none() {
            encoder.mark(Mark::Struct, 0);
        }
        Self { encoder, oldest }
    }

    fn field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Written {
        self.encoder.field = Some(match self.oldest {
            None => Field::Named(name),
            Some((_, fields)) if fields.contains(&name) => Field::Unnamed,
            Some((to, _)) => Field::Added(to, name),
        });
        value.serialize(&mut *self.encoder)
    }

    fn close(self) {
        if self.oldest.is_none() {
            self.encoder.mark(Mark::Struct, 1);
        }
    }
}

macro_rules! in_order {
    ($($kind:ident: $next:ident),+) => {
        $(
            impl $kind for &mut Encoder {
                type Ok = ();
                type Error = Error;

                fn $next<T: Serialize + ?Sized>(&mut self, value: &T) -> Written {
                    value.serialize(&mut **self)
                }

                fn end(self) -> Written {
                    Ok(())
                }
            }
        )+
    };
}

in_order! {
    SerializeSeq: serialize_element,
    SerializeTuple: serialize_element,
    SerializeTupleStruct: serialize_field,
    SerializeTupleVariant: serialize_field
}

impl SerializeMap for &mut Encoder {
    type Ok = ();
    type Error = Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Written {
        key.serialize(&mut **self)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Written {
        value.serialize(&mut **self)
    }

    fn end(self) -> Written {
        Ok(())
    }
}

macro_rules! by_name {
    ($($kind:ident),+) => {
        $(
            impl $kind for Fields<'_> {
                type Ok = ();
                type Error = Error;

                fn serialize_field<T: Serialize + ?Sized>(
                    &mut self,
                    name: &'static str,
                    value: &T,
                ) -> Written {
                    self.field(name, value)
                }

                fn end(self) -> Written {
                    self.close();
                    Ok(())
                }
            }
        )+
    };
}

by_name! { SerializeStruct, SerializeStructVariant }
