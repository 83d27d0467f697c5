module nacre.dev/examples/counter

go 1.24
