//! Times and durations as Kafka's tools take them.

/// Milliseconds since 1970 of a time such as `2024-02-29T12:00:00.000`, which is in UTC unless it says otherwise behind.
pub fn of_date(text: &str) -> Option<i64> {
    let (date, rest) = text.split_once('T')?;
    let zone_at = rest.find(['Z', '+', '-']).unwrap_or(rest.len());
    let (time, zone) = rest.split_at(zone_at);
    let numbers = |text: &str, separator: char| -> Option<Vec<i64>> {
        let parts = text.split(separator);
        parts.map(|part| part.parse().ok()).collect()
    };
    let [year, month, day] = numbers(date, '-')?[..] else {
        return None;
    };
    let (clock, millis) = time.split_once('.')?;
    let [hour, minute, second] = numbers(clock, ':')?[..] else {
        return None;
    };
    let millis: i64 = millis.parse().ok().filter(|_| millis.len() == 3)?;
    let is_valid = (1..=12).contains(&month)
        && (1..=days_of(year, month)).contains(&day)
        && (0..24).contains(&hour)
        && (0..60).contains(&minute)
        && (0..60).contains(&second)
        && (0..10_000).contains(&year);
    is_valid.then_some(())?;
    let minutes = (days_since_1970(year, month, day) * 24 + hour) * 60 + minute - offset(zone)?;
    Some((minutes * 60 + second) * 1_000 + millis)
}

/// Minutes that a zone is ahead of UTC.
fn offset(zone: &str) -> Option<i64> {
    if zone.is_empty() || zone == "Z" {
        return Some(0);
    }
    let digits: String = zone[1..].chars().filter(|c| *c != ':').collect();
    let number: i64 = digits.parse().ok()?;
    let minutes = match digits.len() {
        2 => number * 60,
        4 => number / 100 * 60 + number % 100,
        _ => return None,
    };
    Some(if zone.starts_with('-') {
        -minutes
    } else {
        minutes
    })
}

fn days_of(year: i64, month: i64) -> i64 {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 => 28 + i64::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a day, counted in years that begin in March, so that a leap day is the last of its year.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = match month {
        1 | 2 => (year - 1, month + 9),
        _ => (year, month - 3),
    };
    let of_years = year * 365 + year / 4 - year / 100 + year / 400;
    of_years + (month * 153 + 2) / 5 + day - 1 - 719_468
}

/// Milliseconds of an ISO duration such as `P1DT2H3M4.5S`.
pub fn of_duration(text: &str) -> Option<i64> {
    let body = text.strip_prefix('P')?;
    let (days, clock) = match body.split_once('T') {
        Some((_, "")) => return None,
        Some((days, clock)) => (days, clock),
        None => (body, ""),
    };
    if days.is_empty() && clock.is_empty() {
        return None;
    }
    let mut millis = 0.0;
    for (mut part, units) in [
        (days, &[('D', 86_400_000.0)][..]),
        (
            clock,
            &[('H', 3_600_000.0), ('M', 60_000.0), ('S', 1_000.0)],
        ),
    ] {
        for (unit, length) in units {
            if let Some((number, rest)) = part.split_once(*unit) {
                let number: f64 = number.parse().ok().filter(|n: &f64| n.is_finite())?;
                millis += number * length;
                part = rest;
            }
        }
        if !part.is_empty() {
            return None;
        }
    }
    Some(millis as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_kafkas_tools_read_them() {
        assert_eq!(of_date("1970-01-01T00:00:00.000"), Some(0));
        assert_eq!(of_date("2024-02-29T12:30:15.250"), Some(1_709_209_815_250));
        assert_eq!(
            of_date("2024-02-29T14:30:15.250+02"),
            Some(1_709_209_815_250)
        );
        assert_eq!(of_date("1969-12-31T23:59:59.999Z"), Some(-1));
        for wrong in [
            "2020-01-01T00:00:00Z",
            "2020-01-01",
            "2023-02-29T00:00:00.000",
            "2020-13-01T00:00:00.000",
            "soon",
        ] {
            assert_eq!(of_date(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn durations_are_those_of_iso() {
        assert_eq!(of_duration("P1D"), Some(86_400_000));
        assert_eq!(of_duration("P1DT2H3M4.5S"), Some(93_784_500));
        assert_eq!(of_duration("PT0.001S"), Some(1));
        for wrong in ["1h", "P", "PT", "P1H", "PT1D", "P1D2"] {
            assert_eq!(of_duration(wrong), None, "{wrong}");
        }
    }
}
