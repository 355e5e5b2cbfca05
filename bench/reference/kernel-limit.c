// SPDX-License-Identifier: Apache-2.0
//
// The kernel's own limit for making sandbox networks: the objects of the microVM topology, with batched netlink and
// nothing else.
//
//    router namespace (one per cell)          one namespace per sandbox, pinned on a tmpfs
//    ┌───────────────────────────┐   veth    ┌──────────────────────────────┐
//    │ s<slot>  10.12.0.0 + 2i   │◄─────────►│ eth0  10.12.0.0 + 2i+1       │
//    │ 10.11.0.0 + i /32 → eth0  │    /31    │ tap0  169.254.0.22/30        │── guest 169.254.0.21
//    └───────────────────────────┘           └──────────────────────────────┘
//
// Leaves its namespaces pinned: run it in a mount and network namespace that goes away (docs/measurements.md).

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/ip.h>
#include <linux/neighbour.h>
#include <linux/pkt_sched.h>
#include <linux/veth.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <time.h>
#include <unistd.h>

#include "netlink-batch.h"

enum {
  FIRST_IFINDEX = 10000, // s<slot> has 10000 + slot
  ETH0 = 2,
  TAP0 = 3,
  LO = 1,
  SLOTS = 32768,         // /31 pairs in 10.12.0.0/16
  WINDOW = 100,          // creates averaged before each mark
};

static const uint32_t HOST_RANGE = 0x0a0b0000, LINK_RANGE = 0x0a0c0000; // 10.11.0.0, 10.12.0.0
static const uint32_t TAP_ADDRESS = 0xa9fe0016, GUEST_ADDRESS = 0xa9fe0015; // 169.254.0.22, 169.254.0.21
static const uint8_t ROUTER_MAC[6] = {0x02, 0xcf, 0, 0, 0, 1}, ETH0_MAC[6] = {0x02, 0xcf, 0, 0, 0, 2};
static const uint8_t TAP_MAC[6] = {0x02, 0xfc, 0, 0, 0, 5}, GUEST_MAC[6] = {0x02, 0xfc, 0, 0, 0, 6};
static const uint32_t RATE_BYTES_PER_S = 200000000, BURST_BYTES = 100000000;

// ---- the objects

static void link_veth(struct batch *batch, uint32_t slot, int sandbox_fd) {
  struct ifinfomsg *router = message(batch, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof *router);
  router->ifi_index = (int)(FIRST_IFINDEX + slot);
  char name[IFNAMSIZ];
  snprintf(name, sizeof name, "s%u", slot);
  attribute_text(batch, IFLA_IFNAME, name);
  attribute(batch, IFLA_ADDRESS, ROUTER_MAC, 6);
  struct nlattr *info = begin_nest(batch, IFLA_LINKINFO);
  attribute_text(batch, IFLA_INFO_KIND, "veth");
  struct nlattr *data = begin_nest(batch, IFLA_INFO_DATA), *peer = begin_nest(batch, VETH_INFO_PEER);
  struct ifinfomsg *inside = reserve(batch, sizeof *inside);
  inside->ifi_index = ETH0;
  attribute_text(batch, IFLA_IFNAME, "eth0");
  attribute(batch, IFLA_ADDRESS, ETH0_MAC, 6);
  attribute_u32(batch, IFLA_NET_NS_FD, (uint32_t)sandbox_fd); // born there: a move waits for a grace period
  end_nest(batch, peer);
  end_nest(batch, data);
  end_nest(batch, info);
}

static struct ifinfomsg *set_link(struct batch *batch, uint32_t ifindex) {
  struct ifinfomsg *link = message(batch, RTM_SETLINK, 0, sizeof *link);
  link->ifi_index = (int)ifindex;
  return link;
}

// A message of its own before the link goes up: within one message the kernel raises the link first.
static void link_settings(struct batch *batch, uint32_t ifindex, bool is_tap) {
  set_link(batch, ifindex);
  if (is_tap) {
    attribute(batch, IFLA_ADDRESS, TAP_MAC, 6);
    attribute_u32(batch, IFLA_TXQLEN, 5000);
  }
  struct nlattr *families = begin_nest(batch, IFLA_AF_SPEC), *inet = begin_nest(batch, AF_INET);
  struct nlattr *conf = begin_nest(batch, IFLA_INET_CONF);
  attribute_u32(batch, IPV4_DEVCONF_FORWARDING, 1);
  end_nest(batch, conf);
  end_nest(batch, inet);
  struct nlattr *inet6 = begin_nest(batch, AF_INET6);
  uint8_t mode = IN6_ADDR_GEN_MODE_NONE;
  attribute(batch, IFLA_INET6_ADDR_GEN_MODE, &mode, 1);
  end_nest(batch, inet6);
  end_nest(batch, families);
}

static void link_up(struct batch *batch, uint32_t ifindex) {
  struct ifinfomsg *link = set_link(batch, ifindex);
  link->ifi_flags = link->ifi_change = IFF_UP;
}

// Reading one link makes the kernel finish its pending link event now. Closing the TAP left one, and the link watcher
// takes only about 100 of those a second, walking all that wait each time a veth goes up.
static void settle(struct batch *batch, uint32_t ifindex) {
  struct ifinfomsg *link = message(batch, RTM_GETLINK, 0, sizeof *link);
  link->ifi_index = (int)ifindex;
}

static void address(struct batch *batch, uint32_t ifindex, uint32_t ipv4, uint8_t length) {
  struct ifaddrmsg *body = message(batch, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, sizeof *body);
  body->ifa_family = AF_INET;
  body->ifa_prefixlen = length;
  body->ifa_index = ifindex;
  attribute_ipv4(batch, IFA_LOCAL, ipv4);
  attribute_ipv4(batch, IFA_ADDRESS, ipv4);
}

static void neighbour(struct batch *batch, uint32_t ifindex, uint32_t ipv4, const uint8_t mac[6]) {
  struct ndmsg *body = message(batch, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_EXCL, sizeof *body);
  body->ndm_family = AF_INET;
  body->ndm_ifindex = (int)ifindex;
  body->ndm_state = NUD_PERMANENT;
  attribute_ipv4(batch, NDA_DST, ipv4);
  attribute(batch, NDA_LLADDR, mac, 6);
}

static void route(struct batch *batch, uint32_t ifindex, uint32_t destination, uint8_t length, uint32_t gateway) {
  struct rtmsg *body = message(batch, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, sizeof *body);
  *body = (struct rtmsg){.rtm_family = AF_INET, .rtm_dst_len = length, .rtm_table = RT_TABLE_MAIN,
                         .rtm_protocol = RTPROT_STATIC, .rtm_scope = RT_SCOPE_UNIVERSE, .rtm_type = RTN_UNICAST};
  if (length) attribute_ipv4(batch, RTA_DST, destination);
  attribute_ipv4(batch, RTA_GATEWAY, gateway);
  attribute_u32(batch, RTA_OIF, ifindex);
}

static void token_bucket(struct batch *batch, uint32_t ifindex) {
  struct tcmsg *body = message(batch, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, sizeof *body);
  body->tcm_family = AF_UNSPEC;
  body->tcm_ifindex = (int)ifindex;
  body->tcm_parent = TC_H_ROOT;
  body->tcm_handle = 0x10000;
  attribute_text(batch, TCA_KIND, "tbf");
  struct nlattr *options = begin_nest(batch, TCA_OPTIONS);
  struct tc_tbf_qopt parameters = {.limit = 4 << 20}; // bytes queued at most: 20 ms at the rate
  parameters.rate.rate = RATE_BYTES_PER_S;
  parameters.rate.linklayer = TC_LINKLAYER_ETHERNET; // a named link layer makes the 1 KiB rate table unnecessary
  attribute(batch, TCA_TBF_PARMS, &parameters, sizeof parameters);
  attribute_u32(batch, TCA_TBF_BURST, BURST_BYTES);
  end_nest(batch, options);
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

// ---- one sandbox, timed by phase

enum phase { NAMESPACE, TAP, ROUTER, SANDBOX, PHASES };
static const char *const PHASE_NAMES[PHASES] = {"namespace", "tap", "router", "sandbox"};

struct cost { uint64_t phase_ns[PHASES], total_ns; };
struct options { uint32_t number, start, cells; bool tap, tbf, settle; const char *directory, *control; };

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

static void make_sandbox(struct batch *batch, const struct options *options, int router, uint32_t slot, struct cost *cost) {
  uint32_t outside = FIRST_IFINDEX + slot, router_ipv4 = LINK_RANGE + 2 * slot, sandbox_ipv4 = router_ipv4 + 1;
  uint64_t at[PHASES + 1];
  char name[16];
  snprintf(name, sizeof name, "n%u", slot);

  at[NAMESPACE] = now_ns();
  int namespace = enter_new_namespace(options->directory, name), inside = open_route_socket();

  at[TAP] = now_ns();
  if (options->tap) make_tap(slot);

  at[ROUTER] = now_ns();
  link_veth(batch, slot, namespace);
  link_settings(batch, outside, false);
  link_up(batch, outside);
  address(batch, outside, router_ipv4, 31);
  neighbour(batch, outside, sandbox_ipv4, ETH0_MAC);
  route(batch, outside, HOST_RANGE + slot, 32, sandbox_ipv4);
  flush(batch, router, "router batch", slot);

  at[SANDBOX] = now_ns();
  link_up(batch, LO);
  link_settings(batch, ETH0, false);
  if (options->tbf) token_bucket(batch, ETH0);
  link_up(batch, ETH0);
  address(batch, ETH0, sandbox_ipv4, 31);
  neighbour(batch, ETH0, router_ipv4, ROUTER_MAC);
  route(batch, ETH0, 0, 0, router_ipv4);
  if (options->tap) {
    if (options->settle) settle(batch, TAP0);
    link_settings(batch, TAP0, true);
    if (options->tbf) token_bucket(batch, TAP0);
    link_up(batch, TAP0);
    address(batch, TAP0, TAP_ADDRESS, 30);
    neighbour(batch, TAP0, GUEST_ADDRESS, GUEST_MAC);
  }
  flush(batch, inside, "sandbox batch", slot);
  close(inside);
  close(namespace);
  at[PHASES] = now_ns();

  for (int phase = 0; phase < PHASES; phase++) cost->phase_ns[phase] = at[phase + 1] - at[phase];
  cost->total_ns = at[PHASES] - at[NAMESPACE];
}

// IPv6 stays off on the router's links: its multicast routes cost linear time, and netlink has no message for the default.
static int make_router(const struct options *options, uint32_t cell) {
  char name[16];
  snprintf(name, sizeof name, "r%u", cell);
  close(enter_new_namespace(options->directory, name));
  const char *setting = "/proc/sys/net/ipv6/conf/default/disable_ipv6";
  int fd = open(setting, O_WRONLY | O_CLOEXEC);
  if (fd < 0 || write(fd, "1", 1) != 1) die("Cannot write %s", setting);
  close(fd);
  return open_route_socket();
}

// ---- report

static int compare_u64(const void *a, const void *b) {
  uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
  return (left > right) - (left < right);
}

static void print_window(const struct cost *costs, uint32_t first, uint32_t end, uint32_t live, bool comma) {
  uint32_t count = end - first;
  uint64_t totals[WINDOW], sum = 0;
  for (uint32_t i = 0; i < count; i++) sum += totals[i] = costs[first + i].total_ns;
  qsort(totals, count, sizeof *totals, compare_u64);
  printf("%s\n    {\"live\": %u, \"creates\": %u, \"mean_us\": %.0f, \"median_us\": %.0f, \"max_us\": %.0f, \"phase_mean_us\": {",
         comma ? "," : "", live, count, sum / 1e3 / count, totals[count / 2] / 1e3, totals[count - 1] / 1e3);
  for (int phase = 0; phase < PHASES; phase++) {
    uint64_t spent = 0;
    for (uint32_t i = first; i < end; i++) spent += costs[i].phase_ns[phase];
    printf("%s\"%s\": %.0f", phase ? ", " : "", PHASE_NAMES[phase], spent / 1e3 / count);
  }
  printf("}}");
}

static void print_report(const struct options *options, const struct cost *costs, uint64_t elapsed_ns) {
  static const uint32_t marks[] = {100, 300, 1000, 3000, 10000, 30000};
  uint32_t total = options->start + options->number;
  printf("{\n  \"start\": %u, \"number\": %u, \"cells\": %u, \"tap\": %s, \"settle\": %s, \"tbf\": %s,\n", options->start, options->number,
         options->cells, options->tap ? "true" : "false", options->settle ? "true" : "false", options->tbf ? "true" : "false");
  printf("  \"seconds\": %.3f, \"rate_per_s\": %.0f,\n  \"windows\": [", elapsed_ns / 1e9, options->number / (elapsed_ns / 1e9));
  bool comma = false;
  for (size_t i = 0; i <= sizeof marks / sizeof *marks; i++) {
    bool is_last = i == sizeof marks / sizeof *marks || marks[i] >= total;
    uint32_t live = is_last ? total : marks[i];
    if (live > options->start) {
      uint32_t end = live - options->start;
      print_window(costs, end > WINDOW ? end - WINDOW : 0, end, live, comma);
      comma = true;
    }
    if (is_last) break;
  }
  printf("\n  ]\n}\n");
}

static uint32_t parse_count(const char *option, const char *text, uint32_t least) {
  char *end;
  errno = 0;
  unsigned long value = strtoul(text, &end, 10);
  if (errno || *text < '0' || *text > '9' || *end || value < least || value > SLOTS)
    errno = 0, die("--%s takes a number from %u to %d, not \"%s\"", option, least, SLOTS, text);
  return (uint32_t)value;
}

static const char USAGE[] =
    "usage: kernel-limit --directory TMPFS [--number N] [--start S] [--cells C] [--no-tap]\n"
    "                    [--settle] [--tbf] [--perf-control FIFO]\n"
    "  --number N   sandboxes made and timed (1000)\n"
    "  --start S    sandboxes made first, untimed (0)\n"
    "  --cells C    router namespaces; each holds an equal, consecutive share of the slots (1)\n"
    "  --settle     read tap0 once, so that its link event does not wait in the kernel's queue\n"
    "  --tbf        rate limit on eth0 and tap0\n"
    "  --perf-control FIFO  write \"enable\" there when timing begins, for `perf record --delay=-1 --control`\n";

int main(int argc, char **argv) {
  struct options options = {.number = 1000, .cells = 1, .tap = true};
  static const struct option long_options[] = {
      {"number", 1, 0, 'n'}, {"start", 1, 0, 's'},     {"cells", 1, 0, 'c'},        {"no-tap", 0, 0, 'T'},
      {"settle", 0, 0, 'S'},
      {"tbf", 0, 0, 'q'},    {"directory", 1, 0, 'd'}, {"perf-control", 1, 0, 'p'}, {0}};
  for (int option; (option = getopt_long(argc, argv, "", long_options, NULL)) != -1;) {
    if (option == 'n') options.number = parse_count("number", optarg, 1);
    else if (option == 's') options.start = parse_count("start", optarg, 0);
    else if (option == 'c') options.cells = parse_count("cells", optarg, 1);
    else if (option == 'T') options.tap = false;
    else if (option == 'S') options.settle = true;
    else if (option == 'q') options.tbf = true;
    else if (option == 'd') options.directory = optarg;
    else if (option == 'p') options.control = optarg;
    else return fputs(USAGE, stderr), 2;
  }
  if (!options.directory || optind != argc) return fputs(USAGE, stderr), 2;
  uint32_t total = options.start + options.number, per_cell = (total + options.cells - 1) / options.cells;
  if (total > SLOTS) errno = 0, die("Cannot make %u sandboxes: 10.12.0.0/16 has %d pairs", total, SLOTS);

  struct cost *costs = calloc(options.number, sizeof *costs), untimed;
  int *routers = calloc(options.cells, sizeof *routers);
  if (!costs || !routers) die("Cannot allocate the table of %u costs", options.number);
  for (uint32_t cell = 0; cell < options.cells; cell++) routers[cell] = make_router(&options, cell);

  static struct batch batch;
  for (uint32_t slot = 0; slot < options.start; slot++) make_sandbox(&batch, &options, routers[slot / per_cell], slot, &untimed);
  if (options.control) {
    int fd = open(options.control, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, "enable\n", 7) != 7) die("Cannot write to %s", options.control);
    close(fd);
  }
  uint64_t begin = now_ns();
  for (uint32_t i = 0; i < options.number; i++) {
    uint32_t slot = options.start + i;
    make_sandbox(&batch, &options, routers[slot / per_cell], slot, &costs[i]);
  }
  print_report(&options, costs, now_ns() - begin);
}
