module nacre.dev/examples/teller

go 1.24
