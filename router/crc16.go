package router

// crc16Poly is x^16 + x^12 + x^5 + 1 without its leading term.
const crc16Poly = 0x1021

// crc16Table holds the CRC of each single byte.
var crc16Table = func() (table [256]uint16) {
	for b := range table {
		crc := uint16(b) << 8
		for range 8 {
			carry := crc&0x8000 != 0
			crc <<= 1
			if carry {
				crc ^= crc16Poly
			}
		}
		table[b] = crc
	}
	return table
}()

// CRC16 returns the CRC-16/XMODEM of s: polynomial 0x1021, initial value 0, neither input nor
// output reflected, no final XOR; "123456789" gives 0x31C3. It does not allocate.
//
// Source: Redis Cluster specification, appendix A ("CRC16 reference implementation in ANSI C").
func CRC16(s string) uint16 {
	var crc uint16
	for i := range len(s) {
		crc = crc16Next(crc, s[i])
	}
	return crc
}

// crc16Next extends a CRC by one byte.
func crc16Next(crc uint16, b byte) uint16 {
	return crc<<8 ^ crc16Table[byte(crc>>8)^b]
}
