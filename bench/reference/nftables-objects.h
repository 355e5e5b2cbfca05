// SPDX-License-Identifier: Apache-2.0
//
// Messages of nf_tables: the two maps of a router with their elements, and the guard of a TAP.

#ifndef NFTABLES_OBJECTS_H
#define NFTABLES_OBJECTS_H

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include "netlink-batch.h"

enum {
  MAP_SIZE = 32767,
  TYPE_IPV4 = 7, TYPE_MARK = 19, TYPE_IFINDEX = 20, TYPE_BITS = 6, // as nft(8) numbers the types of set fields
  COMMENT_BYTES = 128,
};

static const char *const TABLE = "culvert";

static void edge(struct batch *batch, uint16_t type) {
  struct nfgenmsg *body = message(batch, type, 0, sizeof *body);
  body->res_id = htons(NFNL_SUBSYS_NFTABLES);
}

static void nft_message(struct batch *batch, uint16_t type, uint16_t flags, uint8_t family) {
  struct nfgenmsg *body = message(batch, (NFNL_SUBSYS_NFTABLES << 8) | type, NLM_F_CREATE | flags, sizeof *body);
  body->nfgen_family = family;
}

static struct nlattr *nested(struct batch *batch, uint16_t type) { return begin_nest(batch, type | NLA_F_NESTED); }

static void data_value(struct batch *batch, uint16_t type, const void *value, size_t size) {
  struct nlattr *data = nested(batch, type);
  attribute(batch, NFTA_DATA_VALUE, value, size);
  end_nest(batch, data);
}

// nft(8) shows what is kept in this form: type 0, length, text with its closing zero.
static void comment(struct batch *batch, uint16_t type, const char *text) {
  uint8_t entry[2 + COMMENT_BYTES] = {0};
  size_t length = strlen(text) + 1;
  if (length > COMMENT_BYTES) errno = 0, die("Cannot keep a comment of %zu bytes", length);
  entry[1] = (uint8_t)length;
  memcpy(entry + 2, text, length);
  attribute(batch, type, entry, 2 + length);
}

static void table(struct batch *batch, uint8_t family, const char *text) {
  nft_message(batch, NFT_MSG_NEWTABLE, 0, family);
  attribute_text(batch, NFTA_TABLE_NAME, TABLE);
  comment(batch, NFTA_TABLE_USERDATA, text);
}

static void map(struct batch *batch, const char *name, uint32_t id, uint32_t data_type, uint32_t data_length) {
  nft_message(batch, NFT_MSG_NEWSET, NLM_F_EXCL, NFPROTO_INET);
  attribute_text(batch, NFTA_SET_TABLE, TABLE);
  attribute_text(batch, NFTA_SET_NAME, name);
  attribute_be32(batch, NFTA_SET_FLAGS, NFT_SET_MAP);
  attribute_be32(batch, NFTA_SET_KEY_TYPE, TYPE_IFINDEX << TYPE_BITS | TYPE_IPV4);
  attribute_be32(batch, NFTA_SET_KEY_LEN, 8);
  attribute_be32(batch, NFTA_SET_DATA_TYPE, data_type);
  attribute_be32(batch, NFTA_SET_DATA_LEN, data_length);
  struct nlattr *description = nested(batch, NFTA_SET_DESC);
  attribute_be32(batch, NFTA_SET_DESC_SIZE, MAP_SIZE);
  end_nest(batch, description);
  attribute_be32(batch, NFTA_SET_ID, id);
}

// Without `data` it is taken out.
static void element(struct batch *batch, const char *map, const uint32_t key[2], const void *data, size_t size, const char *owner) {
  nft_message(batch, data ? NFT_MSG_NEWSETELEM : NFT_MSG_DELSETELEM, data ? NLM_F_EXCL : 0, NFPROTO_INET);
  attribute_text(batch, NFTA_SET_ELEM_LIST_TABLE, TABLE);
  attribute_text(batch, NFTA_SET_ELEM_LIST_SET, map);
  struct nlattr *list = nested(batch, NFTA_SET_ELEM_LIST_ELEMENTS), *one = nested(batch, NFTA_LIST_ELEM);
  data_value(batch, NFTA_SET_ELEM_KEY, key, 8);
  if (data) {
    data_value(batch, NFTA_SET_ELEM_DATA, data, size);
    comment(batch, NFTA_SET_ELEM_USERDATA, owner);
  }
  end_nest(batch, one);
  end_nest(batch, list);
}

static void ingress_chain(struct batch *batch, const char *link) {
  nft_message(batch, NFT_MSG_NEWCHAIN, NLM_F_EXCL, NFPROTO_NETDEV);
  attribute_text(batch, NFTA_CHAIN_TABLE, TABLE);
  attribute_text(batch, NFTA_CHAIN_NAME, link);
  struct nlattr *hook = nested(batch, NFTA_CHAIN_HOOK);
  attribute_be32(batch, NFTA_HOOK_HOOKNUM, NF_NETDEV_INGRESS);
  attribute_be32(batch, NFTA_HOOK_PRIORITY, 0);
  attribute_text(batch, NFTA_HOOK_DEV, link);
  end_nest(batch, hook);
  attribute_be32(batch, NFTA_CHAIN_POLICY, NF_ACCEPT);
  attribute_text(batch, NFTA_CHAIN_TYPE, "filter");
}

struct expression { struct nlattr *item, *data; };

static struct expression begin_expression(struct batch *batch, const char *name) {
  struct expression expression = {.item = nested(batch, NFTA_LIST_ELEM)};
  attribute_text(batch, NFTA_EXPR_NAME, name);
  expression.data = nested(batch, NFTA_EXPR_DATA);
  return expression;
}

static void end_expression(struct batch *batch, struct expression expression) {
  end_nest(batch, expression.data);
  end_nest(batch, expression.item);
}

// ether saddr != mac drop
static void drop_other_sources(struct batch *batch, const char *chain, const uint8_t mac[6]) {
  nft_message(batch, NFT_MSG_NEWRULE, NLM_F_APPEND, NFPROTO_NETDEV);
  attribute_text(batch, NFTA_RULE_TABLE, TABLE);
  attribute_text(batch, NFTA_RULE_CHAIN, chain);
  struct nlattr *expressions = nested(batch, NFTA_RULE_EXPRESSIONS);
  struct expression payload = begin_expression(batch, "payload");
  attribute_be32(batch, NFTA_PAYLOAD_DREG, NFT_REG32_08);
  attribute_be32(batch, NFTA_PAYLOAD_BASE, NFT_PAYLOAD_LL_HEADER);
  attribute_be32(batch, NFTA_PAYLOAD_OFFSET, 6);
  attribute_be32(batch, NFTA_PAYLOAD_LEN, 6);
  end_expression(batch, payload);
  struct expression compare = begin_expression(batch, "cmp");
  attribute_be32(batch, NFTA_CMP_SREG, NFT_REG32_08);
  attribute_be32(batch, NFTA_CMP_OP, NFT_CMP_NEQ);
  data_value(batch, NFTA_CMP_DATA, mac, 6);
  end_expression(batch, compare);
  struct expression drop = begin_expression(batch, "immediate");
  attribute_be32(batch, NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
  struct nlattr *data = nested(batch, NFTA_IMMEDIATE_DATA), *verdict = nested(batch, NFTA_DATA_VERDICT);
  attribute_be32(batch, NFTA_VERDICT_CODE, NF_DROP);
  end_nest(batch, verdict);
  end_nest(batch, data);
  end_expression(batch, drop);
  end_nest(batch, expressions);
}

static void begin_transaction(struct batch *batch) { edge(batch, NFNL_MSG_BATCH_BEGIN); }

static void commit(struct batch *batch, int fd, const char *what, uint32_t slot) {
  struct nlmsghdr *last = batch->last;
  edge(batch, NFNL_MSG_BATCH_END);
  flush_acknowledged(batch, last, fd, what, slot);
}

#endif
