// SPDX-License-Identifier: Apache-2.0
//
// A batch of netlink messages: appended one after the other, sent in one sendmsg, answered by one acknowledgement.

#ifndef NETLINK_BATCH_H
#define NETLINK_BATCH_H

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netlink.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BATCH_BYTES = 8192 };

static void die(const char *format, ...) {
  int cause = errno;
  va_list arguments;
  va_start(arguments, format);
  fputs("kernel-limit: ", stderr);
  vfprintf(stderr, format, arguments);
  va_end(arguments);
  if (cause) fprintf(stderr, ": %s", strerror(cause));
  fputc('\n', stderr);
  exit(1);
}

struct batch {
  _Alignas(4) uint8_t bytes[BATCH_BYTES];
  size_t length;
  struct nlmsghdr *last;
  uint32_t sequence;
};

static void *reserve(struct batch *batch, size_t size) {
  size_t aligned = NLMSG_ALIGN(size);
  if (batch->length + aligned > BATCH_BYTES) errno = 0, die("Cannot grow a batch past %d bytes", BATCH_BYTES);
  void *at = batch->bytes + batch->length;
  memset(at, 0, aligned);
  batch->length += aligned;
  return at;
}

// Lengths of the message and of open nests are set when they end, so that `reserve` stays the only place that grows.
static void end_message(struct batch *batch) {
  if (batch->last) batch->last->nlmsg_len = (uint32_t)(batch->bytes + batch->length - (uint8_t *)batch->last);
}

static void *message(struct batch *batch, uint16_t type, uint16_t flags, size_t body) {
  end_message(batch);
  batch->last = reserve(batch, NLMSG_HDRLEN);
  batch->last->nlmsg_type = type;
  batch->last->nlmsg_flags = NLM_F_REQUEST | flags;
  batch->last->nlmsg_seq = ++batch->sequence;
  return reserve(batch, body);
}

static void attribute(struct batch *batch, uint16_t type, const void *value, size_t size) {
  struct nlattr *attr = reserve(batch, NLA_HDRLEN + size);
  attr->nla_type = type;
  attr->nla_len = (uint16_t)(NLA_HDRLEN + size);
  memcpy((uint8_t *)attr + NLA_HDRLEN, value, size);
}

static void attribute_u32(struct batch *batch, uint16_t type, uint32_t value) { attribute(batch, type, &value, 4); }
static void attribute_be32(struct batch *batch, uint16_t type, uint32_t host) { attribute_u32(batch, type, htonl(host)); }
static void attribute_text(struct batch *batch, uint16_t type, const char *text) {
  attribute(batch, type, text, strlen(text) + 1);
}

static struct nlattr *begin_nest(struct batch *batch, uint16_t type) {
  struct nlattr *attr = reserve(batch, NLA_HDRLEN);
  attr->nla_type = type;
  return attr;
}

static void end_nest(struct batch *batch, struct nlattr *attr) {
  attr->nla_len = (uint16_t)(batch->bytes + batch->length - (uint8_t *)attr);
}

static int open_netlink(int protocol) {
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol), on = 1;
  if (fd < 0) die("Cannot open a netlink socket of protocol %d", protocol);
  if (setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on)) die("Cannot set NETLINK_CAP_ACK");
  return fd;
}

// Only the message `last` asks for an acknowledgement: the kernel answers in order and reports every error unasked.
static void flush_acknowledged(struct batch *batch, struct nlmsghdr *last_message, int fd, const char *what, uint32_t slot) {
  end_message(batch);
  last_message->nlmsg_flags |= NLM_F_ACK;
  uint32_t first = ((struct nlmsghdr *)batch->bytes)->nlmsg_seq, last = last_message->nlmsg_seq;
  struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
  struct iovec part = {batch->bytes, batch->length};
  struct msghdr header = {.msg_name = &kernel, .msg_namelen = sizeof kernel, .msg_iov = &part, .msg_iovlen = 1};
  if (sendmsg(fd, &header, 0) != (ssize_t)batch->length) die("Cannot send the %s of slot %u", what, slot);
  for (bool done = false; !done;) {
    _Alignas(4) uint8_t reply[8192];
    ssize_t received = recv(fd, reply, sizeof reply, 0);
    if (received < 0) die("Cannot read the answer to the %s of slot %u", what, slot);
    int left = (int)received;
    for (struct nlmsghdr *at = (void *)reply; NLMSG_OK(at, left); at = NLMSG_NEXT(at, left)) {
      if (at->nlmsg_type != NLMSG_ERROR) continue;
      errno = -((struct nlmsgerr *)NLMSG_DATA(at))->error;
      if (errno) die("Cannot apply message %u of the %s of slot %u", at->nlmsg_seq - first + 1, what, slot);
      if (at->nlmsg_seq == last) done = true;
    }
  }
  batch->length = 0;
  batch->last = NULL;
}

static void flush(struct batch *batch, int fd, const char *what, uint32_t slot) {
  flush_acknowledged(batch, batch->last, fd, what, slot);
}

#endif
