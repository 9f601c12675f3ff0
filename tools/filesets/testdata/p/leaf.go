package p

const leaf = 1
