//! Identities: 128 bits that print as UUIDs, made without coordination, and a cheap map keyed by them.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(u128);

        impl $name {
            pub const fn new(bits: u128) -> Self {
                Self(bits)
            }

            pub const fn get(self) -> u128 {
                self.0
            }

            pub const fn to_bytes(self) -> [u8; 16] {
                self.0.to_be_bytes()
            }

            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(u128::from_be_bytes(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_uuid(self.0, out)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_uuid(self.0, out)
            }
        }
    };
}

id!(
    /// A product whose stock is reserved.
    ProductId
);
id!(
    /// An order; the low byte names the shard of its buyer, see [`OrderId::for_buyer`].
    OrderId
);
id!(
    /// The account that an order belongs to; always taken from the token.
    BuyerId
);
id!(
    /// One attempt to pay; also the idempotency key given to the payment provider.
    AttemptId
);
id!(
    /// An entry of a buyer's address book.
    AddressId
);
id!(
    /// The HTTP request that caused a change, for the audit log.
    RequestId
);
id!(
    /// Hash of (buyer, route, `Idempotency-Key`): equal keys of two buyers never meet.
    KeyHash
);

impl OrderId {
    /// Puts the shard of the buyer into the low byte, so that an order is found by its id alone.
    pub fn for_buyer(unique: u128, buyer: BuyerId) -> Self {
        Self((unique & !0xff) | u128::from(buyer.shard_byte()))
    }

    pub const fn shard_byte(self) -> u8 {
        self.0.to_be_bytes()[15]
    }
}

impl BuyerId {
    pub fn shard_byte(self) -> u8 {
        self.0.to_be_bytes().iter().fold(0, |mix, byte| mix ^ byte)
    }
}

/// Hash of what a request asked for; another body under the same key is told apart by it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Fingerprint(pub u64);

/// A map keyed by ids. Ids are made by the engine, not by clients, so the cheap hash cannot be attacked.
pub type IdMap<K, V> = HashMap<K, V, BuildHasherDefault<IdHasher>>;

/// Mixes the 128 bits of an id by one multiplication.
#[derive(Default, Debug, Clone, Copy)]
pub struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u128(u128::from(*byte));
        }
    }

    fn write_u128(&mut self, id: u128) {
        let [low, high] = halves(id);
        let product = u128::from(low ^ self.0 ^ 0x9e37_79b9_7f4a_7c15)
            .wrapping_mul(u128::from(high ^ 0xd6e8_feb8_6659_fd93));
        let [low, high] = halves(product);
        self.0 = low ^ high;
    }
}

/// What [`IdHasher`] makes of an id.
pub fn hash_of(id: u128) -> u64 {
    let mut hasher = IdHasher::default();
    hasher.write_u128(id);
    hasher.finish()
}

fn halves(id: u128) -> [u64; 2] {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = id.to_le_bytes();
    [
        u64::from_le_bytes([a, b, c, d, e, f, g, h]),
        u64::from_le_bytes([i, j, k, l, m, n, o, p]),
    ]
}

fn write_uuid(bits: u128, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    let field = |shift: u32, mask: u128| (bits >> shift) & mask;
    write!(
        out,
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        field(96, 0xffff_ffff),
        field(80, 0xffff),
        field(64, 0xffff),
        field(48, 0xffff),
        field(0, 0xffff_ffff_ffff),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_prints_as_a_uuid() {
        let id = ProductId::new(0x0192_3456_789a_7bcd_8ef0_1234_5678_9abc);
        assert_eq!(id.to_string(), "01923456-789a-7bcd-8ef0-123456789abc");
    }

    #[test]
    fn an_order_is_found_in_the_shard_of_its_buyer() {
        let buyer = BuyerId::new(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10);
        let order = OrderId::for_buyer(u128::MAX, buyer);
        assert_eq!(order.shard_byte(), buyer.shard_byte());
    }
}
