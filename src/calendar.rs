//! The calendar of the shop: what a day is where it stands. The one place that knows of time zones.

use anyhow::Context;
use jiff::Zoned;
use jiff::tz::TimeZone;

use crate::domain::Timestamp;

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

    /// What the clock on the shop's wall shows at an instant. The end of the calendar is in the year 9999.
    pub fn local(&self, instant: Timestamp) -> Zoned {
        let micros = i64::try_from(instant.as_micros()).unwrap_or(i64::MAX);
        let instant = jiff::Timestamp::from_microsecond(micros).unwrap_or(jiff::Timestamp::MAX);
        instant.to_zoned(self.zone.clone())
    }
}

#[cfg(test)]
mod local_tests {
    use super::*;

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
            let instant = Timestamp::from_micros(1_795_534_200_000_000);
            assert_eq!(calendar.local(instant).to_string(), shown);
        }
        let seoul = ShopCalendar::in_zone(ShopCalendar::ZONE_DEFAULT).expect("a zone");
        assert_eq!(seoul.local(Timestamp::MAX).year(), 9999);
    }
}
