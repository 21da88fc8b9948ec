//! Points in time as people read them: on the shop's clock, to the minute.

use jiff::Zoned;
use jiff::civil::Weekday;

use super::Language;

/// `14:05 on Tuesday, 24 November 2026 (Seoul time)`. Seconds are cut off: who keeps to the minute is never late.
pub(super) fn spelled(moment: &Zoned, language: Language) -> String {
    match language {
        Language::English => english(moment),
        Language::Korean => korean(moment),
    }
}

fn english(moment: &Zoned) -> String {
    let zone = match place(moment) {
        Some(place) => format!("{place} time"),
        None => "UTC".to_owned(),
    };
    format!(
        "{:02}:{:02} on {}, {} {} {} ({zone})",
        moment.hour(),
        moment.minute(),
        english_weekday(moment.weekday()),
        moment.day(),
        english_month(moment.month()),
        moment.year(),
    )
}

fn korean(moment: &Zoned) -> String {
    let zone = match place(moment).as_deref() {
        Some("Seoul") => "한국 시간".to_owned(),
        Some(place) => format!("{place} 시간"),
        None => "협정 세계시".to_owned(),
    };
    format!(
        "{}년 {}월 {}일 {} {}시 {}분({zone})",
        moment.year(),
        moment.month(),
        moment.day(),
        korean_weekday(moment.weekday()),
        moment.hour(),
        moment.minute(),
    )
}

/// `Seoul` for `Asia/Seoul`; nothing for the time that is nowhere's own.
fn place(moment: &Zoned) -> Option<String> {
    let name = moment.time_zone().iana_name()?;
    let place = name.rsplit('/').next().filter(|it| *it != "UTC")?;
    Some(place.replace('_', " "))
}

const fn english_weekday(day: Weekday) -> &'static str {
    match day {
        Weekday::Monday => "Monday",
        Weekday::Tuesday => "Tuesday",
        Weekday::Wednesday => "Wednesday",
        Weekday::Thursday => "Thursday",
        Weekday::Friday => "Friday",
        Weekday::Saturday => "Saturday",
        Weekday::Sunday => "Sunday",
    }
}

const fn korean_weekday(day: Weekday) -> &'static str {
    match day {
        Weekday::Monday => "월요일",
        Weekday::Tuesday => "화요일",
        Weekday::Wednesday => "수요일",
        Weekday::Thursday => "목요일",
        Weekday::Friday => "금요일",
        Weekday::Saturday => "토요일",
        Weekday::Sunday => "일요일",
    }
}

const fn english_month(month: i8) -> &'static str {
    match month {
        1 => "January",
        2 => "February",
        3 => "March",
        4 => "April",
        5 => "May",
        6 => "June",
        7 => "July",
        8 => "August",
        9 => "September",
        10 => "October",
        11 => "November",
        _ => "December",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(moment: &str, in_english: &str, in_korean: &str) {
        let moment: Zoned = moment.parse().expect("a moment");
        assert_eq!(spelled(&moment, Language::English), in_english);
        assert_eq!(spelled(&moment, Language::Korean), in_korean);
    }

    #[test]
    fn a_moment_is_read_on_the_shops_wall() {
        check(
            "2026-11-24T14:05:59+09:00[Asia/Seoul]",
            "14:05 on Tuesday, 24 November 2026 (Seoul time)",
            "2026년 11월 24일 화요일 14시 5분(한국 시간)",
        );
        check(
            "2027-01-01T00:00:00-05:00[America/New_York]",
            "00:00 on Friday, 1 January 2027 (New York time)",
            "2027년 1월 1일 금요일 0시 0분(New York 시간)",
        );
        check(
            "2026-07-05T09:30:00Z[UTC]",
            "09:30 on Sunday, 5 July 2026 (UTC)",
            "2026년 7월 5일 일요일 9시 30분(협정 세계시)",
        );
    }
}
