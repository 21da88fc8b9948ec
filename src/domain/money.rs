//! Money in minor units, quantities, and the line of an order that joins the two.

use super::ProductId;

/// An ISO 4217 code, three upper-case letters; by default `XXX`, the code for no currency.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Currency([u8; 3]);

/// An amount in minor units (won, cents) of one currency; never a float.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Money {
    pub amount: i64,
    pub currency: Currency,
}

/// Units asked for in one line: 1 to [`Quantity::MAX`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Quantity(u32);

/// One product of an order, with the price as it was when the hold was taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Line {
    pub product: ProductId,
    pub quantity: Quantity,
    pub unit_price: Money,
}

impl Default for Currency {
    fn default() -> Self {
        Self(*b"XXX")
    }
}

impl Currency {
    pub fn parse(code: &str) -> Option<Self> {
        let letters: [u8; 3] = code.as_bytes().try_into().ok()?;
        letters
            .iter()
            .all(u8::is_ascii_uppercase)
            .then_some(Self(letters))
    }

    /// The code, or `???` for bytes that [`Currency::parse`] would never have let in.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("???")
    }
}

impl Money {
    /// The largest price of one unit. It times [`Quantity::MAX`] times the most lines of an order still fits an `i64`.
    pub const UNIT_PRICE_MAX: i64 = 1_000_000_000_000;
}

impl Quantity {
    pub const MAX: u32 = 10_000;

    pub fn new(units: u32) -> Option<Self> {
        (1..=Self::MAX).contains(&units).then_some(Self(units))
    }

    pub const fn get(self) -> u32 {
        self.0
    }
}

impl Line {
    /// Quantity times unit price; bounded by [`Money::UNIT_PRICE_MAX`], so it cannot overflow for a line that was let in.
    pub fn amount(&self) -> i64 {
        self.unit_price
            .amount
            .saturating_mul(i64::from(self.quantity.get()))
    }
}
