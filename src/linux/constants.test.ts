import { describe, expect, it } from 'vitest';
import * as arp from './arp/constants.ts';
import * as conntrack from './conntrack/constants.ts';
import * as inet from './inet/constants.ts';
import * as netlink from './netlink/constants.ts';
import * as nflog from './nflog/constants.ts';
import * as route from './route/constants.ts';
import { headerNames } from './testing/header-names.ts';
import * as waiting from './waiting/constants.ts';
import * as wireguard from './wireguard/constants.ts';

const names = headerNames(
  'asm-generic/socket.h',
  'asm-generic/poll.h',
  'asm-generic/unistd.h',
  'linux/netlink.h',
  'linux/genetlink.h',
  'linux/rtnetlink.h',
  'linux/netconf.h',
  'linux/if.h',
  'linux/if_link.h',
  'linux/if_addr.h',
  'linux/if_ether.h',
  'linux/if_packet.h',
  'linux/if_tun.h',
  'linux/in.h',
  'linux/in6.h',
  'linux/ip.h',
  'linux/neighbour.h',
  'linux/fib_rules.h',
  'linux/pkt_sched.h',
  'linux/veth.h',
  'linux/wireguard.h',
  'linux/netfilter/nfnetlink.h',
  'linux/netfilter/nfnetlink_conntrack.h',
  'linux/netfilter/nfnetlink_log.h',
);

/** Of the C library's sys/socket.h, whose place depends on the machine. */
const OF_LIBC = /^(AF|SOCK|MSG)_|^SOL_(NETLINK|PACKET|IP|IPV6)$/;

/** Lengths that the headers compute with sizeof, and the complement of two flags. */
const COMPUTED = new Set(['NLMSG_HDRLEN', 'NLA_HDRLEN', 'NLA_TYPE_MASK', 'GENL_HDRLEN']);

describe.skipIf(names === undefined)('the numbers of the kernel', () => {
  const all = Object.entries({
    ...netlink,
    ...route,
    ...conntrack,
    ...nflog,
    ...arp,
    ...inet,
    ...waiting,
    ...wireguard,
  });

  it.each(all.filter(([name]) => !OF_LIBC.test(name) && !COMPUTED.has(name)))(
    '%s is what the header says',
    (name, value) => {
      expect(names?.get(name)).toBe(value);
    },
  );
});
