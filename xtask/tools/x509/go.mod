module nacre.dev/xtask/x509

go 1.21
