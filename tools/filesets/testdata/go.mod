module example.com/sets

go 1.26.0
