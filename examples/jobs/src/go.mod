module nacre.dev/examples/report

go 1.24
