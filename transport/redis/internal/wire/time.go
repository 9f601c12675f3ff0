package wire

import "time"

// parseTime reads an RFC 3339 time, strictly: what time.Parse lets through besides (hours of one digit, a comma, an offset
// of +24:00) is refused, and what it refuses although the RFC has it is read: a lower-case t or z, and a leap second, which
// is the second behind it. What lies outside the years 1 to 9999 in UTC is refused, since no envelope can have it. Digits
// beyond nanoseconds are cut off.
func parseTime(s string) (t time.Time, ok bool) {
	if len(s) < len("2006-01-02T15:04:05Z") {
		return t, false
	}
	year, ok1 := digits(s[0:4])
	month, ok2 := digits(s[5:7])
	day, ok3 := digits(s[8:10])
	hour, ok4 := digits(s[11:13])
	minute, ok5 := digits(s[14:16])
	second, ok6 := digits(s[17:19])
	if !ok1 || !ok2 || !ok3 || !ok4 || !ok5 || !ok6 || s[4] != '-' || s[7] != '-' || s[10]|0x20 != 't' || s[13] != ':' || s[16] != ':' {
		return t, false
	}
	nanos, rest, ok := fraction(s[19:])
	if !ok {
		return t, false
	}
	offset, ok := zone(rest)
	if !ok || month < 1 || month > 12 || day < 1 || day > 31 || hour > 23 || minute > 59 || second > 60 {
		return t, false
	}
	if day > 28 && time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC).Day() != day {
		return t, false
	}
	t = time.Date(year, time.Month(month), day, hour, minute, second, nanos, time.UTC).Add(-offset)
	return t, inYears(t)
}

// inYears reports whether a time is one that an envelope can have.
func inYears(t time.Time) bool {
	at := t.Unix()
	return at >= firstTime && at <= lastTime
}

// digits reads a number of a few digits.
func digits(s string) (n int, ok bool) {
	for i := range len(s) {
		if !isDigit(s[i]) {
			return 0, false
		}
		n = n*10 + int(s[i]-'0')
	}
	return n, true
}

// fraction reads the fraction of a second, if there is one.
func fraction(s string) (nanos int, rest string, ok bool) {
	if s == "" || s[0] != '.' {
		return 0, s, true
	}
	end := skipDigits(s, 1)
	if end < 0 {
		return 0, "", false
	}
	unit := int(time.Second)
	for i := 1; i < end && unit > 1; i++ {
		unit /= 10
		nanos += int(s[i]-'0') * unit
	}
	return nanos, s[end:], true
}

// zone reads Z or an offset.
func zone(s string) (offset time.Duration, ok bool) {
	if len(s) == 1 && s[0]|0x20 == 'z' {
		return 0, true
	}
	if len(s) != len("+00:00") || s[0] != '+' && s[0] != '-' || s[3] != ':' {
		return 0, false
	}
	hours, ok1 := digits(s[1:3])
	minutes, ok2 := digits(s[4:6])
	if !ok1 || !ok2 || hours > 23 || minutes > 59 {
		return 0, false
	}
	offset = time.Duration(hours)*time.Hour + time.Duration(minutes)*time.Minute
	if s[0] == '-' {
		offset = -offset
	}
	return offset, true
}
