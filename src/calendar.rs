//! The calendar of the shop: what a day is where it stands. The one place that knows of time zones.

use anyhow::Context;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{ToSpan, Zoned};

use crate::domain::{Span, Timestamp};

/// Days as the shop's customers count them. Pure: the same instant always gets the same answer.
pub trait Calendar: Send + Sync + std::fmt::Debug {
    /// Until when something delivered at an instant may be sent back: the end of the next calendar day. Always later
    /// than `delivered_at`.
    fn return_until(&self, delivered_at: Timestamp) -> Timestamp;
}

/// The calendar of a time zone, from the zones of the machine or, where it has none, from those in the program.
#[derive(Debug, Clone)]
pub struct ShopCalendar {
    zone: TimeZone,
}

impl ShopCalendar {
    /// Where a shop stands that names no zone.
    pub const ZONE_DEFAULT: &str = "Asia/Seoul";

    /// By the name of a zone in the IANA database.
    pub fn in_zone(name: &str) -> anyhow::Result<Self> {
        let zone = TimeZone::get(name).with_context(|| {
            format!("`{name}` is not a time zone of the IANA database, such as `Asia/Seoul`")
        })?;
        Ok(Self { zone })
    }

    /// What the clock on the shop's wall shows at an instant; at most the end of the calendar.
    pub fn local(&self, instant: Timestamp) -> Zoned {
        let micros = i64::try_from(instant.as_micros()).unwrap_or(i64::MAX);
        let instant = jiff::Timestamp::from_microsecond(micros).unwrap_or(jiff::Timestamp::MAX);
        instant.to_zoned(self.zone.clone())
    }

    /// `None` at the end of the calendar, in the year 9999.
    fn end_of_next_day(&self, instant: Timestamp) -> Option<Timestamp> {
        let micros = i64::try_from(instant.as_micros()).ok()?;
        let instant = jiff::Timestamp::from_microsecond(micros).ok()?;
        let today = instant.to_zoned(self.zone.clone()).date();
        // Step by step: a zone that moves over the date line leaves out a whole day.
        let next_day = self.begin_of_day_after(today)?.date();
        let end = self.begin_of_day_after(next_day)?.timestamp();
        let micros = u64::try_from(end.as_microsecond()).ok()?;
        Some(Timestamp::from_micros(micros))
    }

    /// The first instant of the day, which is not always called midnight.
    fn begin_of_day_after(&self, date: Date) -> Option<Zoned> {
        let next = date.checked_add(1.day()).ok()?;
        next.to_zoned(self.zone.clone()).ok()?.start_of_day().ok()
    }
}

impl Default for ShopCalendar {
    fn default() -> Self {
        Self::in_zone(Self::ZONE_DEFAULT).expect("the zones in the program have the default")
    }
}

impl Calendar for ShopCalendar {
    fn return_until(&self, delivered_at: Timestamp) -> Timestamp {
        const DAY: Span = Span::from_secs(86_400);
        self.end_of_next_day(delivered_at)
            .unwrap_or_else(|| delivered_at.plus(DAY))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn micros(time: &str) -> Timestamp {
        let time: jiff::Timestamp = time.parse().expect("a time");
        Timestamp::from_micros(time.as_microsecond().cast_unsigned())
    }

    /// Both in the words of the zone, with its offset.
    #[track_caller]
    fn check(zone: &str, delivered_at: &str, until: &str) {
        let calendar = ShopCalendar::in_zone(zone).expect("a zone");
        assert_eq!(
            calendar.return_until(micros(delivered_at)),
            micros(until),
            "delivered in {zone} at {delivered_at}"
        );
    }

    #[test]
    fn the_window_ends_with_the_next_day_whatever_the_hour() {
        for delivered_at in [
            "2026-11-22T00:00:00+09:00",
            "2026-11-22T12:00:00+09:00",
            "2026-11-22T23:59:59.999999+09:00",
        ] {
            check("Asia/Seoul", delivered_at, "2026-11-24T00:00:00+09:00");
        }
        check(
            "Asia/Seoul",
            "2026-11-23T00:00:00+09:00",
            "2026-11-25T00:00:00+09:00",
        );
    }

    #[test]
    fn the_day_is_that_of_the_shop_not_of_greenwich() {
        check("Asia/Seoul", "2026-11-21T15:00:00Z", "2026-11-23T15:00:00Z");
        check("Asia/Seoul", "2026-11-21T14:59:59Z", "2026-11-22T15:00:00Z");
        check("UTC", "2026-11-21T15:00:00Z", "2026-11-23T00:00:00Z");
        check(
            "Pacific/Honolulu",
            "2026-11-21T05:00:00Z",
            "2026-11-22T10:00:00Z",
        );
    }

    #[test]
    fn months_years_and_leap_days_end_where_the_calendar_says() {
        check(
            "Asia/Seoul",
            "2026-12-31T10:00:00+09:00",
            "2027-01-02T00:00:00+09:00",
        );
        check(
            "Asia/Seoul",
            "2026-12-30T10:00:00+09:00",
            "2027-01-01T00:00:00+09:00",
        );
        check(
            "Asia/Seoul",
            "2028-02-28T10:00:00+09:00",
            "2028-03-01T00:00:00+09:00",
        );
        check(
            "Asia/Seoul",
            "2028-02-29T10:00:00+09:00",
            "2028-03-02T00:00:00+09:00",
        );
        check(
            "Asia/Seoul",
            "2027-02-28T10:00:00+09:00",
            "2027-03-02T00:00:00+09:00",
        );
    }

    #[test]
    fn a_day_of_23_or_25_hours_is_one_day() {
        check(
            "Europe/Berlin",
            "2026-03-28T12:00:00+01:00",
            "2026-03-30T00:00:00+02:00",
        );
        check(
            "Europe/Berlin",
            "2026-10-24T12:00:00+02:00",
            "2026-10-26T00:00:00+01:00",
        );
        check(
            "America/New_York",
            "2026-03-08T01:59:59-05:00",
            "2026-03-10T00:00:00-04:00",
        );
        check(
            "America/New_York",
            "2026-11-01T01:30:00-04:00",
            "2026-11-03T00:00:00-05:00",
        );
        // The second of the two half past one.
        check(
            "America/New_York",
            "2026-11-01T01:30:00-05:00",
            "2026-11-03T00:00:00-05:00",
        );
    }

    #[test]
    fn a_day_without_a_midnight_begins_with_its_first_instant() {
        check(
            "America/Sao_Paulo",
            "2018-11-02T12:00:00-03:00",
            "2018-11-04T01:00:00-02:00",
        );
        check(
            "America/Sao_Paulo",
            "2018-11-03T12:00:00-03:00",
            "2018-11-05T00:00:00-02:00",
        );
    }

    #[test]
    fn a_day_that_a_zone_leaves_out_is_nobodys_next_day() {
        // Samoa went from the 29th to the 31st of December 2011.
        check(
            "Pacific/Apia",
            "2011-12-29T12:00:00-10:00",
            "2012-01-01T00:00:00+14:00",
        );
    }

    #[test]
    fn the_window_is_never_over_when_it_begins() {
        let calendars = ["Asia/Seoul", "Pacific/Apia", "America/Sao_Paulo", "UTC"]
            .map(|zone| ShopCalendar::in_zone(zone).expect("a zone"));
        let hour_us = 3_600_000_000;
        let instants = (0..600_000).map(|hours| Timestamp::from_micros(hours * hour_us));
        let ends = [Timestamp::ZERO, Timestamp::MAX];
        for instant in instants.step_by(7).chain(ends) {
            for calendar in &calendars {
                let until = calendar.return_until(instant);
                assert!(
                    until > instant || until == Timestamp::MAX,
                    "{instant} in {calendar:?}"
                );
            }
        }
    }

    #[test]
    fn an_instant_is_shown_as_on_the_shops_wall() {
        for (zone, shown) in [
            ("Asia/Seoul", "2026-11-25T00:30:00+09:00[Asia/Seoul]"),
            ("UTC", "2026-11-24T15:30:00+00:00[UTC]"),
            (
                "America/New_York",
                "2026-11-24T10:30:00-05:00[America/New_York]",
            ),
        ] {
            let calendar = ShopCalendar::in_zone(zone).expect("a zone");
            let local = calendar.local(micros("2026-11-24T15:30:00Z"));
            assert_eq!(local.to_string(), shown);
        }
        assert_eq!(ShopCalendar::default().local(Timestamp::MAX).year(), 9999);
    }

    #[test]
    fn a_zone_that_is_none_is_named() {
        for name in ["Mars/Olympus", "", "+09:00", "Asia/Seoul "] {
            let told = ShopCalendar::in_zone(name)
                .expect_err("refused")
                .to_string();
            assert!(told.contains(&format!("`{name}`")), "{told}");
        }
    }
}
