// SPDX-License-Identifier: Apache-2.0
//
// Messages of rtnetlink for the objects of one sandbox network.

#ifndef ROUTE_OBJECTS_H
#define ROUTE_OBJECTS_H

#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/ip.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>

#include "netlink-batch.h"

struct link_end { const char *name; uint32_t ifindex; const uint8_t *mac; };

static struct ifinfomsg *set_link(struct batch *batch, uint32_t ifindex) {
  struct ifinfomsg *link = message(batch, RTM_SETLINK, 0, sizeof *link);
  link->ifi_index = (int)ifindex;
  return link;
}

static void link_attributes(struct batch *batch, const struct link_end *end, uint32_t mtu) {
  attribute_text(batch, IFLA_IFNAME, end->name);
  attribute(batch, IFLA_ADDRESS, end->mac, 6);
  attribute_u32(batch, IFLA_MTU, mtu);
}

static void veth_end(struct batch *batch, const struct link_end *end, uint32_t mtu) {
  link_attributes(batch, end, mtu);
  attribute_u32(batch, IFLA_NUM_TX_QUEUES, 1);
  attribute_u32(batch, IFLA_NUM_RX_QUEUES, 1);
}

// The peer is born in its namespace: a move waits for a grace period. So does, at each end, a queue per processor, since
// the kernel then takes all but one out of use.
static void link_veth(struct batch *batch, const struct link_end *near, const struct link_end *peer, uint32_t mtu, int peer_fd) {
  struct ifinfomsg *link = message(batch, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof *link);
  link->ifi_index = (int)near->ifindex;
  veth_end(batch, near, mtu);
  struct nlattr *info = begin_nest(batch, IFLA_LINKINFO);
  attribute_text(batch, IFLA_INFO_KIND, "veth");
  struct nlattr *data = begin_nest(batch, IFLA_INFO_DATA), *body = begin_nest(batch, VETH_INFO_PEER);
  struct ifinfomsg *inside = reserve(batch, sizeof *inside);
  inside->ifi_index = (int)peer->ifindex;
  veth_end(batch, peer, mtu);
  attribute_u32(batch, IFLA_NET_NS_FD, (uint32_t)peer_fd);
  end_nest(batch, body);
  end_nest(batch, data);
  end_nest(batch, info);
}

// A message of its own before the link goes up: within one message the kernel raises the link first.
static void link_settings(struct batch *batch, uint32_t ifindex, bool forwarding) {
  set_link(batch, ifindex);
  struct nlattr *families = begin_nest(batch, IFLA_AF_SPEC);
  if (forwarding) {
    struct nlattr *inet = begin_nest(batch, AF_INET), *conf = begin_nest(batch, IFLA_INET_CONF);
    attribute_u32(batch, IPV4_DEVCONF_FORWARDING, 1);
    end_nest(batch, conf);
    end_nest(batch, inet);
  }
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
  attribute_be32(batch, IFA_LOCAL, ipv4);
  attribute_be32(batch, IFA_ADDRESS, ipv4);
}

static void neighbour(struct batch *batch, uint32_t ifindex, uint32_t ipv4, const uint8_t mac[6]) {
  struct ndmsg *body = message(batch, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, sizeof *body);
  body->ndm_family = AF_INET;
  body->ndm_ifindex = (int)ifindex;
  body->ndm_state = NUD_PERMANENT;
  attribute_be32(batch, NDA_DST, ipv4);
  attribute(batch, NDA_LLADDR, mac, 6);
}

static void begin_route(struct batch *batch, uint32_t ifindex, uint8_t length, uint8_t scope) {
  struct rtmsg *body = message(batch, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, sizeof *body);
  *body = (struct rtmsg){.rtm_family = AF_INET, .rtm_dst_len = length, .rtm_table = RT_TABLE_MAIN,
                         .rtm_protocol = RTPROT_STATIC, .rtm_scope = scope, .rtm_type = RTN_UNICAST};
  attribute_u32(batch, RTA_OIF, ifindex);
}

static void host_route(struct batch *batch, uint32_t ifindex, uint32_t destination) {
  begin_route(batch, ifindex, 32, RT_SCOPE_LINK);
  attribute_be32(batch, RTA_DST, destination);
}

static void default_route(struct batch *batch, uint32_t ifindex, uint32_t gateway, uint32_t source) {
  begin_route(batch, ifindex, 0, RT_SCOPE_UNIVERSE);
  attribute_be32(batch, RTA_GATEWAY, gateway);
  attribute_be32(batch, RTA_PREFSRC, source);
}

#endif
