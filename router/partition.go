package router

// Partition returns the partition, 0 to n-1, of a key among n. One partition or fewer is always 0.
// Any string is a key, the empty one and bytes that are not UTF-8 included; the empty key has a
// partition like any other, so spread unkeyed events over partitions by other means. It does not
// allocate.
//
// The function is frozen, and the same in every language:
//
//	h = 2166136261                              // FNV-1a, 32 bits
//	for each byte c of key: h = (h ^ c) * 16777619
//	h = (h ^ h>>16) * 0x85ebca6b                // MurmurHash3's finaliser (fmix32)
//	h = (h ^ h>>13) * 0xc2b2ae35
//	h =  h ^ h>>16
//	partition = h * n >> 32                     // the product has 46 bits for n up to MaxPartitions
//
// All but the last line is arithmetic on unsigned 32-bit numbers. Why this one: 32 bits are what
// JavaScript (Math.imul) and the Lua in Redis can do without a big-number library, and a bias of n
// in 2^32 is far below what can be measured. FNV-1a alone leaves the high bits of short keys poorly
// mixed; the finaliser spreads each input bit over all of them. Multiply-shift takes the high bits
// without the division and, unlike mod, keeps order: when n doubles, partition p splits into 2p and
// 2p+1 and no key goes anywhere else. It shares nothing with CRC16, so a key's partition says
// nothing about the slot of a name.
//
// Because keys of one partition have nearly equal high bits, Partition cannot spread them again:
// spread the keys inside a partition (over lanes, say) by another hash.
//
// It is no defence against keys chosen to collide: a client that chooses keys freely can fill one
// partition.
//
// Sources: Fowler, Noll and Vo (draft-eastlake-fnv); Appleby, MurmurHash3, fmix32; Lemire, "Fast
// Random Integer Generation in an Interval" (2019).
func Partition(key string, n int) int {
	if n <= 1 {
		return 0
	}
	return int(uint64(keyHash(key)) * uint64(n) >> 32)
}

// keyHash is FNV-1a followed by MurmurHash3's 32-bit finaliser.
func keyHash(key string) uint32 {
	h := uint32(2166136261)
	for i := range len(key) {
		h = (h ^ uint32(key[i])) * 16777619
	}
	h = (h ^ h>>16) * 0x85ebca6b
	h = (h ^ h>>13) * 0xc2b2ae35
	return h ^ h>>16
}
