//! Values on their way in and out. Columns are read by their place, in the order in which the statement names them.
//!
//! SQL has signed numbers only. Times and fingerprints are 64 unsigned bits and keep them: a time is negative only
//! after the year 294,000, and a fingerprint is never compared by size.

use sqlx::Arguments;
use sqlx::Row;
use sqlx::any::{AnyArguments, AnyRow};

use super::Error;
use crate::domain::{Currency, Money, Timestamp};

/// The columns of a row, from the left.
pub(super) struct Columns<'r> {
    row: &'r AnyRow,
    next: usize,
}

impl<'r> Columns<'r> {
    pub(super) fn of(row: &'r AnyRow) -> Self {
        Self { row, next: 0 }
    }

    pub(super) fn number(&mut self) -> Result<i64, Error> {
        Ok(self.row.try_get(self.step())?)
    }

    pub(super) fn number_or_null(&mut self) -> Result<Option<i64>, Error> {
        Ok(self.row.try_get(self.step())?)
    }

    /// A number that is never negative.
    pub(super) fn count(&mut self, what: &'static str) -> Result<u64, Error> {
        u64::try_from(self.number()?).or(Err(Error::Damaged { what }))
    }

    pub(super) fn bits(&mut self) -> Result<u64, Error> {
        Ok(self.number()?.cast_unsigned())
    }

    pub(super) fn time(&mut self) -> Result<Timestamp, Error> {
        self.bits().map(Timestamp::from_micros)
    }

    pub(super) fn time_or_null(&mut self) -> Result<Option<Timestamp>, Error> {
        let micros = self.number_or_null()?;
        Ok(micros.map(|micros| Timestamp::from_micros(micros.cast_unsigned())))
    }

    pub(super) fn flag(&mut self) -> Result<bool, Error> {
        Ok(self.number()? != 0)
    }

    pub(super) fn id(&mut self) -> Result<u128, Error> {
        let bytes: &[u8] = self.row.try_get(self.step())?;
        id_of(bytes)
    }

    pub(super) fn id_or_null(&mut self) -> Result<Option<u128>, Error> {
        let bytes: Option<&[u8]> = self.row.try_get(self.step())?;
        bytes.map(id_of).transpose()
    }

    pub(super) fn bytes(&mut self) -> Result<&'r [u8], Error> {
        Ok(self.row.try_get(self.step())?)
    }

    pub(super) fn bytes_or_null(&mut self) -> Result<Option<&'r [u8]>, Error> {
        Ok(self.row.try_get(self.step())?)
    }

    /// 256 bits.
    pub(super) fn hash(&mut self) -> Result<[u8; 32], Error> {
        hash_of(self.bytes()?)
    }

    pub(super) fn hash_or_null(&mut self) -> Result<Option<[u8; 32]>, Error> {
        self.bytes_or_null()?.map(hash_of).transpose()
    }

    pub(super) fn text(&mut self) -> Result<&'r str, Error> {
        Ok(self.row.try_get(self.step())?)
    }

    pub(super) fn text_or_null(&mut self) -> Result<Option<&'r str>, Error> {
        Ok(self.row.try_get(self.step())?)
    }

    /// An amount and, in the next column, its currency.
    pub(super) fn money(&mut self) -> Result<Money, Error> {
        Ok(Money {
            amount: self.number()?,
            currency: self.currency()?,
        })
    }

    pub(super) fn currency(&mut self) -> Result<Currency, Error> {
        Currency::parse(self.text()?).ok_or(Error::Damaged { what: "a currency" })
    }

    fn step(&mut self) -> usize {
        let column = self.next;
        self.next += 1;
        column
    }
}

fn id_of(bytes: &[u8]) -> Result<u128, Error> {
    match bytes.try_into() {
        Ok(bytes) => Ok(u128::from_be_bytes(bytes)),
        Err(_) => Err(Error::Damaged { what: "an id" }),
    }
}

fn hash_of(bytes: &[u8]) -> Result<[u8; 32], Error> {
    bytes.try_into().or(Err(Error::Damaged { what: "a hash" }))
}

/// The arguments of a statement, in order.
#[derive(Default)]
pub(super) struct Values {
    arguments: AnyArguments,
    failed: Option<sqlx::error::BoxDynError>,
}

impl Values {
    pub(super) fn number(&mut self, number: i64) {
        self.add(number);
    }

    pub(super) fn number_or_null(&mut self, number: Option<i64>) {
        self.add(number);
    }

    /// A number of units or of anything else that stays far below 2^63.
    pub(super) fn count(&mut self, count: u64) {
        self.add(i64::try_from(count).unwrap_or(i64::MAX));
    }

    pub(super) fn bits(&mut self, bits: u64) {
        self.add(bits.cast_signed());
    }

    pub(super) fn time(&mut self, time: Timestamp) {
        self.bits(time.as_micros());
    }

    pub(super) fn time_or_null(&mut self, time: Option<Timestamp>) {
        self.add(time.map(|time| time.as_micros().cast_signed()));
    }

    pub(super) fn flag(&mut self, flag: bool) {
        self.add(i64::from(flag));
    }

    pub(super) fn id(&mut self, id: u128) {
        self.add(id.to_be_bytes().as_slice());
    }

    pub(super) fn id_or_null(&mut self, id: Option<u128>) {
        self.add(id.map(|id| id.to_be_bytes().to_vec()));
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.add(bytes);
    }

    pub(super) fn bytes_or_null(&mut self, bytes: Option<&[u8]>) {
        self.add(bytes.map(<[u8]>::to_vec));
    }

    pub(super) fn text(&mut self, text: &str) {
        self.add(text);
    }

    pub(super) fn text_or_null(&mut self, text: Option<&str>) {
        self.add(text.map(str::to_owned));
    }

    pub(super) fn money(&mut self, money: Money) {
        self.number(money.amount);
        self.text(money.currency.as_str());
    }

    /// What a statement takes.
    pub(super) fn finish(self) -> Result<AnyArguments, Error> {
        match self.failed {
            None => Ok(self.arguments),
            Some(error) => Err(Error::Refused(sqlx::Error::Encode(error))),
        }
    }

    fn add<'q, T>(&mut self, value: T)
    where
        T: sqlx::Encode<'q, sqlx::Any> + sqlx::Type<sqlx::Any>,
    {
        if let Err(error) = self.arguments.add(value) {
            self.failed.get_or_insert(error);
        }
    }
}
