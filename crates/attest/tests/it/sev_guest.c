// A driver of /dev/sev-guest for the tests in device.rs, loaded before libc. Its structures and numbers are those of
// the kernel's header on the machine that builds it, not ours.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/sev-guest.h>

_Static_assert(sizeof(struct snp_guest_request_ioctl) == 32, "request");
_Static_assert(offsetof(struct snp_guest_request_ioctl, req_data) == 8, "request");
_Static_assert(offsetof(struct snp_guest_request_ioctl, resp_data) == 16, "request");
_Static_assert(sizeof(struct snp_report_req) == 96, "report request");
_Static_assert(offsetof(struct snp_report_req, vmpl) == 64, "report request");
_Static_assert(sizeof(struct snp_report_resp) == 4000, "report response");
_Static_assert(SNP_GET_REPORT == 0xc0205300UL, "SNP_GET_REPORT");

static int device = -1;

static int driver(unsigned long request, struct snp_guest_request_ioctl *arg)
{
	// "errno exitinfo2 status"; all zero is a report.
	const char *text = getenv("NACRE_TEST_DRIVER");
	int number;
	unsigned long long exitinfo2;
	unsigned int status;
	if (!text || sscanf(text, "%d %llx %x", &number, &exitinfo2, &status) != 3)
		abort();
	if (request != SNP_GET_REPORT) {
		fprintf(stderr, "driver: request %#lx\n", request);
		abort();
	}
	const struct snp_report_req *req = (const void *)arg->req_data;
	struct snp_report_resp *resp = (void *)arg->resp_data;
	static const unsigned char zero[28];
	if (arg->msg_version != 1 || memcmp(req->rsvd, zero, 28))
		abort();
	if (number) {
		// The last eight bytes, under whichever name this header has for them.
		memcpy((char *)arg + 24, &exitinfo2, 8);
		errno = number;
		return -1;
	}
	// MSG_REPORT_RSP: status, size, the report at 0x20.
	unsigned int size = 1184;
	memset(resp, 0, sizeof *resp);
	memcpy(resp->data, &status, 4);
	memcpy(resp->data + 4, &size, 4);
	if (!status) {
		memset(resp->data + 0x20, 0xab, size);
		memcpy(resp->data + 0x20 + 0x30, &req->vmpl, 4);
		memcpy(resp->data + 0x20 + 0x50, req->user_data, 64);
	}
	return 0;
}

static int open_at(const char *path, int flags, mode_t mode)
{
	if (strcmp(path, "/dev/sev-guest"))
		return syscall(SYS_openat, AT_FDCWD, path, flags, mode);
	return device = syscall(SYS_openat, AT_FDCWD, "/dev/null", flags, 0);
}

#define OPEN(name)                                          \
	int name(const char *path, int flags, ...)          \
	{                                                   \
		va_list rest;                               \
		va_start(rest, flags);                      \
		mode_t mode = va_arg(rest, mode_t);         \
		va_end(rest);                               \
		return open_at(path, flags, mode);          \
	}
OPEN(open)
OPEN(open64)

int ioctl(int fd, unsigned long request, ...)
{
	va_list rest;
	va_start(rest, request);
	void *arg = va_arg(rest, void *);
	va_end(rest);
	if (fd == device && device >= 0)
		return driver(request, arg);
	return syscall(SYS_ioctl, fd, request, arg);
}
