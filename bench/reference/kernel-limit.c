// SPDX-License-Identifier: Apache-2.0
//
// The kernel's own limit for making sandbox networks: the objects of the microVM topology, with batched netlink and
// nothing else: no lease, no API, no answer to anybody.
//
//    router namespace                         one namespace per sandbox, pinned on a tmpfs
//    ┌───────────────────────────┐   veth    ┌──────────────────────────────┐
//    │ s<slot>, no address       │◄─────────►│ eth0  10.12.0.0 + 2i+1       │
//    │ 10.11.0.0 + i /32 → s<i>  │    /31    │ lo    10.11.0.0 + i          │
//    │ maps outbound, inbound    │           │ tap0  169.254.0.22/30, guard │── guest 169.254.0.21
//    └───────────────────────────┘           └──────────────────────────────┘
//
// Reads lines from standard input and answers each with one. "create N" makes the next N sandboxes, from slot 1 up, and
// prints the wall time that each took, in ns; "plain N" makes them without a TAP and its guard. "remove N" takes the oldest
// N out of the maps and unpins them, and like "left" prints how many of their cables are still in the router: the kernel
// removes them by and by.
// Leaves the rest of its namespaces pinned: run it in a mount namespace that goes away.

#define _GNU_SOURCE
#include <fcntl.h>
#include <getopt.h>
#include <linux/if_tun.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <time.h>

#include "netlink-batch.h"
#include "nftables-objects.h"
#include "route-objects.h"

enum {
  FIRST_IFINDEX = 10000, // s<slot> has 10000 + slot
  LO = 1,
  ETH0 = 2,
  TAP0 = 3,
  LAST_SLOT = 32767,     // the last /31 pair in 10.12.0.0/16
  TRANSMIT_QUEUE = 5000,
  POLICY = 1,
};

static const uint32_t HOST_RANGE = 0x0a0b0000, LINK_RANGE = 0x0a0c0000; // 10.11.0.0, 10.12.0.0
static const uint32_t TAP_ADDRESS = 0xa9fe0016, GUEST_ADDRESS = 0xa9fe0015; // 169.254.0.22, 169.254.0.21
static const uint8_t ROUTER_MAC[6] = {0x02, 0xcf, 0, 0, 0, 1}, ETH0_MAC[6] = {0x02, 0xcf, 0, 0, 0, 2};
static const uint8_t TAP_MAC[6] = {0x02, 0xfc, 0, 0, 0, 5}, GUEST_MAC[6] = {0x02, 0xfc, 0, 0, 0, 6};

// As long as the digest that the daemon keeps there.
static const char *const TABLE_COMMENT = "0123456789abcdef0123456789abcdef";

struct sockets { int route, netfilter; };
struct options { const char *directory; uint32_t mtu; };

static uint64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

// Leaves the caller in a new network namespace, pinned at `<directory>/<name>`; returns a descriptor of it.
static int enter_new_namespace(const char *directory, const char *name) {
  char pin[4096];
  if ((size_t)snprintf(pin, sizeof pin, "%s/%s", directory, name) >= sizeof pin) errno = 0, die("Path too long: %s", directory);
  if (unshare(CLONE_NEWNET)) die("Cannot make network namespace %s", name);
  int file = open(pin, O_CREAT | O_EXCL | O_RDONLY | O_CLOEXEC, 0600);
  if (file < 0) die("Cannot create %s", pin);
  close(file);
  if (mount("/proc/thread-self/ns/net", pin, NULL, MS_BIND, NULL)) die("Cannot pin a namespace at %s", pin);
  int namespace = open(pin, O_RDONLY | O_CLOEXEC);
  if (namespace < 0) die("Cannot open %s", pin);
  return namespace;
}

static void make_tap(uint32_t slot) {
  int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
  if (fd < 0) die("Cannot open /dev/net/tun for slot %u", slot);
  unsigned int ifindex = TAP0;
  struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
  strcpy(request.ifr_name, "tap0");
  if (ioctl(fd, TUNSETIFINDEX, &ifindex)) die("Cannot choose index %u for tap0 of slot %u", ifindex, slot);
  if (ioctl(fd, TUNSETIFF, &request)) die("Cannot make tap0 of slot %u", slot);
  if (ioctl(fd, TUNSETPERSIST, 1)) die("Cannot keep tap0 of slot %u", slot);
  close(fd);
}

static void set_up_tap(struct batch *batch, const struct options *options) {
  settle(batch, TAP0);
  set_link(batch, TAP0);
  link_attributes(batch, &(struct link_end){"tap0", TAP0, TAP_MAC}, options->mtu);
  attribute_u32(batch, IFLA_TXQLEN, TRANSMIT_QUEUE);
  link_settings(batch, TAP0, true);
  link_up(batch, TAP0);
  address(batch, TAP0, TAP_ADDRESS, 30);
  neighbour(batch, TAP0, GUEST_ADDRESS, GUEST_MAC);
}

static void make_guard(struct batch *batch, uint32_t slot) {
  int inside = open_netlink(NETLINK_NETFILTER);
  begin_transaction(batch);
  table(batch, NFPROTO_NETDEV, TABLE_COMMENT);
  ingress_chain(batch, "tap0");
  drop_other_sources(batch, "tap0", GUEST_MAC);
  commit(batch, inside, "guard", slot);
  close(inside);
}

// The address that the sandbox's own packets have on its cable.
static uint32_t wire_address(bool with_tap, uint32_t slot) { return with_tap ? GUEST_ADDRESS : HOST_RANGE + slot; }

static void let_pass(struct batch *batch, int netfilter, uint32_t slot, uint32_t wire) {
  char owner[COMMENT_BYTES];
  snprintf(owner, sizeof owner, "n%u generation 1", slot);
  const uint32_t outside[2] = {FIRST_IFINDEX + slot, htonl(wire)}, policy[2] = {POLICY, htonl(HOST_RANGE + slot)};
  const uint32_t inside[2] = {FIRST_IFINDEX + slot, htonl(HOST_RANGE + slot)}, guest = htonl(wire);
  begin_transaction(batch);
  element(batch, "outbound", outside, policy, sizeof policy, owner);
  element(batch, "inbound", inside, &guest, sizeof guest, owner);
  commit(batch, netfilter, "elements", slot);
}

static void cut_off(struct batch *batch, int netfilter, uint32_t slot, uint32_t wire) {
  const uint32_t outside[2] = {FIRST_IFINDEX + slot, htonl(wire)}, inside[2] = {FIRST_IFINDEX + slot, htonl(HOST_RANGE + slot)};
  begin_transaction(batch);
  element(batch, "outbound", outside, NULL, 0, NULL);
  element(batch, "inbound", inside, NULL, 0, NULL);
  commit(batch, netfilter, "elements", slot);
}

static void unpin(const char *directory, uint32_t slot) {
  char pin[4096];
  snprintf(pin, sizeof pin, "%s/s%u", directory, slot);
  if (umount2(pin, MNT_DETACH) || unlink(pin)) die("Cannot unpin %s", pin);
}

static bool has_cable(int router, uint32_t slot) {
  struct ifreq request = {.ifr_ifindex = (int)(FIRST_IFINDEX + slot)};
  if (!ioctl(router, SIOCGIFNAME, &request)) return true;
  if (errno != ENODEV) die("Cannot look for the cable of slot %u", slot);
  return false;
}

static uint64_t make_sandbox(struct batch *batch, const struct options *options, const struct sockets *router, uint32_t slot, bool with_tap) {
  uint32_t outside = FIRST_IFINDEX + slot, host = HOST_RANGE + slot, gateway = LINK_RANGE + 2 * slot;
  char name[16];
  snprintf(name, sizeof name, "s%u", slot);
  uint64_t begin = now_ns();
  int namespace = enter_new_namespace(options->directory, name), inside = open_netlink(NETLINK_ROUTE);
  if (with_tap) make_tap(slot);

  link_veth(batch, &(struct link_end){name, outside, ROUTER_MAC}, &(struct link_end){"eth0", ETH0, ETH0_MAC}, options->mtu, namespace);
  link_settings(batch, outside, false);
  link_up(batch, outside);
  neighbour(batch, outside, wire_address(with_tap, slot), ETH0_MAC); // looked up when the destination has been rewritten
  host_route(batch, outside, host);
  flush(batch, router->route, "router batch", slot);

  link_up(batch, LO);
  address(batch, LO, host, 32);
  link_settings(batch, ETH0, with_tap);
  link_up(batch, ETH0);
  address(batch, ETH0, gateway + 1, 31);
  neighbour(batch, ETH0, gateway, ROUTER_MAC);
  default_route(batch, ETH0, gateway, host);
  if (with_tap) set_up_tap(batch, options);
  flush(batch, inside, "sandbox batch", slot);

  if (with_tap) make_guard(batch, slot);
  let_pass(batch, router->netfilter, slot, wire_address(with_tap, slot));
  close(inside);
  close(namespace);
  return now_ns() - begin;
}

// What each link of the router starts with. IPv6 stays off: its multicast routes cost linear time, and netlink has no
// message for the default.
static const char *const ROUTER_SETTINGS[][2] = {
    {"ipv6/conf/default/disable_ipv6", "1"},       {"ipv4/ip_forward", "1"},
    {"ipv4/conf/default/rp_filter", "1"},          {"ipv4/conf/default/log_martians", "1"},
    {"ipv4/conf/default/send_redirects", "0"},     {"ipv4/conf/all/send_redirects", "0"},
    {"ipv4/conf/default/accept_redirects", "0"},   {"ipv4/conf/all/accept_redirects", "0"},
};

static void write_setting(const char *name, const char *value) {
  char path[128];
  snprintf(path, sizeof path, "/proc/sys/net/%s", name);
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0 || write(fd, value, strlen(value)) < 0) die("Cannot write %s to %s", value, path);
  close(fd);
}

static struct sockets make_router(struct batch *batch, const struct options *options) {
  close(enter_new_namespace(options->directory, "router"));
  for (size_t i = 0; i < sizeof ROUTER_SETTINGS / sizeof *ROUTER_SETTINGS; i++)
    write_setting(ROUTER_SETTINGS[i][0], ROUTER_SETTINGS[i][1]);
  struct sockets router = {open_netlink(NETLINK_ROUTE), open_netlink(NETLINK_NETFILTER)};
  link_up(batch, LO);
  address(batch, LO, LINK_RANGE, 16); // every gateway answers
  flush(batch, router.route, "router itself", 0);
  begin_transaction(batch);
  table(batch, NFPROTO_INET, TABLE_COMMENT);
  map(batch, "outbound", 1, TYPE_MARK << TYPE_BITS | TYPE_IPV4, 8);
  map(batch, "inbound", 2, TYPE_IPV4, 4);
  commit(batch, router.netfilter, "router's table", 0);
  return router;
}

static uint32_t parse_count(const char *what, const char *text, uint32_t most) {
  char *end;
  errno = 0;
  unsigned long value = strtoul(text, &end, 10);
  if (errno || *text < '0' || *text > '9' || (*end && *end != '\n') || value < 1 || value > most)
    errno = 0, die("%s is a number from 1 to %u, not \"%s\"", what, most, text);
  return (uint32_t)value;
}

static const char USAGE[] = "usage: kernel-limit --directory TMPFS --mtu BYTES\n";

int main(int argc, char **argv) {
  struct options options = {0};
  static const struct option long_options[] = {{"directory", 1, 0, 'd'}, {"mtu", 1, 0, 'm'}, {0}};
  for (int option; (option = getopt_long(argc, argv, "", long_options, NULL)) != -1;) {
    if (option == 'd') options.directory = optarg;
    else if (option == 'm') options.mtu = parse_count("--mtu", optarg, 65535);
    else return fputs(USAGE, stderr), 2;
  }
  if (!options.directory || !options.mtu || optind != argc) return fputs(USAGE, stderr), 2;

  static struct batch batch;
  int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
  if (home < 0) die("Cannot open the namespace to come back to");
  struct sockets router = make_router(&batch, &options);
  static bool has_tap[LAST_SLOT + 1];
  uint32_t made = 0, removed = 0, gone = 0; // slots up to each
  for (char line[64], verb[8], count[16]; fgets(line, sizeof line, stdin); fflush(stdout)) {
    int words = sscanf(line, "%7s %15s", verb, count);
    bool only_asks = words == 1 && !strcmp(verb, "left");
    if (words != 2 && !only_asks) errno = 0, die("Unknown command \"%s\"", line);
    if (only_asks || !strcmp(verb, "remove")) {
      for (uint32_t number = only_asks ? 0 : parse_count("What to remove", count, made - removed); number; number--) {
        removed++;
        cut_off(&batch, router.netfilter, removed, wire_address(has_tap[removed], removed));
        unpin(options.directory, removed);
      }
      while (gone < removed && !has_cable(router.route, gone + 1)) gone++;
      printf("%u\n", removed - gone);
      continue;
    }
    bool with_tap = !strcmp(verb, "create");
    if (!with_tap && strcmp(verb, "plain")) errno = 0, die("Unknown command \"%s\"", line);
    uint32_t number = parse_count("What to create", count, LAST_SLOT - made);
    for (uint32_t i = 0; i < number; i++) {
      has_tap[++made] = with_tap;
      printf("%s%lu", i ? " " : "", (unsigned long)make_sandbox(&batch, &options, &router, made, with_tap));
    }
    putchar('\n');
    if (setns(home, CLONE_NEWNET)) die("Cannot leave the last namespace, which would stay");
  }
}
