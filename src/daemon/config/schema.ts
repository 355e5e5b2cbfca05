import { z } from 'zod';
import { NAME } from '../../cluster/records.ts';
import { SLOT_MAX } from '../../ipam/lease.ts';
import { closedObject } from '../../schema/issue.ts';
import { interfaceAddress, ipv4, mac, policy, prefix, rates } from '../../schema/values.ts';
import { RUN_FOLDER, STATE_FOLDER } from '../../tunnel/client/folders.ts';

/** sockaddr_un holds 108 bytes, the last one a zero (unix(7)). */
const SOCKET_PATH_MAX = 107;

const folder = z
  .string()
  .max(4095)
  .regex(/^\/[^\0]*$/, 'want an absolute path')
  .meta({ title: 'an absolute path' });

const runFolder = folder.refine((path) => Buffer.byteLength(`${path}/api.sock`) <= SOCKET_PATH_MAX, {
  message: `Cannot use this run folder: the path of the socket in it would be longer than ${SOCKET_PATH_MAX} bytes`,
});

const port = String.raw`:\d{1,5}$`;

/** `127.0.0.1:7070`. An address of this host, not a name: a name may come to mean another one. */
const listen = z
  .string()
  .max(21)
  .regex(new RegExp(`^[0-9.]+${port}`), 'want an IPv4 address and a port, such as 127.0.0.1:7070')
  .refine((text) => Number(text.replace(/^.*:/, '')) <= 65_535, { message: 'Cannot listen: want a port of 0 to 65535' })
  .meta({ title: 'an IPv4 address and port' });

const pool = z.int().min(0).max(4096);

function topologyDefaults(): { rates: z.ZodPrefault<typeof rates>; policy: z.ZodPrefault<typeof policy> } {
  return {
    rates: rates.prefault({}).meta({ description: 'Limits of a sandbox that is created without `rates`' }),
    policy: policy
      .prefault({ egress: 'internet' })
      .meta({ description: 'What a sandbox that is created without `policy` may reach' }),
  };
}

const ranges = closedObject({
  host: prefix.prefault('10.11.0.0/16').meta({
    description: 'Where the host reaches `microvm` and `netns` sandboxes: slot i has the i-th address',
  }),
  link: prefix.prefault('10.12.0.0/16').meta({
    description:
      'Of the cables between router and sandboxes: slot i has the addresses 2i and 2i + 1, and at 1 names are asked for',
  }),
  bridge: prefix.prefault('10.8.64.0/24').meta({
    description: 'Of the `bridge` topology; its first address is the gateway, and its length 20 to 29',
  }),
});

const microvm = closedObject({
  ...topologyDefaults(),
  guest: closedObject({
    address: ipv4.prefault('169.254.0.21').meta({ description: 'The same in every guest' }),
    mac: mac.prefault('02:fc:00:00:00:06').meta({ description: 'Give it to the guest’s network device' }),
  }).prefault({}),
  tap: closedObject({
    address: interfaceAddress
      .prefault('169.254.0.22/30')
      .meta({ description: 'The guest’s gateway, and the network that it shares with the guest' }),
    mac: mac.prefault('02:fc:00:00:00:05').meta({ description: 'Of the TAP' }),
    transmitQueue: z.int().min(1).max(100_000).default(5000).meta({ description: 'packets' }),
  }).prefault({}),
});

/** The config file. Every key has its meaning here, and `docs/config.md` is made from it. */
export const configSchema = closedObject({
  name: z
    .string()
    .regex(/^[a-z][a-z0-9-]{0,11}$/, 'want 1 to 12 of a-z, 0-9 and -, the first a letter')
    .default('main')
    .meta({
      pattern: '^[a-z][a-z0-9-]{0,11}$',
      description:
        'Tells daemons on one machine apart: it stands in the names of what they put into the root namespace',
    }),
  stateDir: folder
    .default('/var/lib/culvert')
    .meta({ description: 'Holds the leases; on a disk that outlives a boot' }),
  runDir: runFolder.default('/run/culvert').meta({ description: 'Holds `api.sock`, `culvert.pid` and `netns/`' }),
  tunnels: folder.default('/etc/culvert/tunnels').meta({
    description:
      'Holds the wg-quick files of tunnels that sandboxes may leave by, `NAME.conf` of mode 0600: who may create sandboxes may use them, and sees none',
  }),
  uplink: z
    .string()
    .regex(/^[^\s/:]{1,15}$/, 'want the name of a link, 1 to 15 characters')
    .optional()
    .meta({ description: 'The link to the outside; where absent that of the default route' }),
  inbound: z
    .array(z.string().regex(/^(\*|[^\s/:*]{1,15})$/, 'want the name of a link, 1 to 15 characters, or * for all'))
    .max(32)
    .default([])
    .meta({
      description:
        'Links of the host by which others may open connections to sandboxes, `*` for all; by any other come only answers. The host itself always may',
    }),
  mtu: z.int().min(576).max(65_521).optional().meta({
    description:
      'bytes, of every link; where absent the uplink’s less `tunnelRoom`. In a cluster, what this host takes: all have links of the size that they agreed on',
  }),
  tunnelRoom: z.literal([60, 80]).default(80).meta({
    description: 'bytes kept free for a tunnel’s header, used or not: 60 where it runs over IPv4, 80 over either',
  }),
  ranges: ranges.prefault({}),
  topology: closedObject({
    microvm: microvm.prefault({}),
    netns: closedObject(topologyDefaults()).prefault({}),
    bridge: closedObject(topologyDefaults()).prefault({}),
  }).prefault({}),
  pool: closedObject({
    microvm: pool.default(64).meta({ description: 'Networks kept ready' }),
    netns: pool.default(32).meta({ description: 'Networks kept ready' }),
    bridge: pool.default(8).meta({ description: 'Networks kept ready, out of the addresses of `ranges.bridge`' }),
  }).prefault({}),
  quarantine: closedObject({
    floorMs: z
      .int()
      .min(0)
      .max(86_400_000)
      .default(1000)
      .meta({ description: 'ms that an address rests at least before it is used again' }),
  }).prefault({}),
  limits: closedObject({
    sandboxes: z
      .int()
      .min(1)
      .max(SLOT_MAX)
      .optional()
      .meta({ description: 'How many slots there are; where absent as many as `ranges` hold' }),
    flows: z.int().min(16).max(1_000_000).default(8192).meta({
      description:
        'Connections, and what else connection tracking counts, that a sandbox may have opened at a time. The kernel’s table (`net.netfilter.nf_conntrack_max`) is all sandboxes’ and the host’s',
    }),
    bodyBytes: z.int().min(1024).max(16_777_216).default(1_048_576).meta({ description: 'bytes of a request’s body' }),
    connections: z
      .int()
      .min(8)
      .max(65_535)
      .default(1024)
      .meta({ description: 'To each of the API’s sockets at a time' }),
    subscribers: z.int().min(1).max(1024).default(64).meta({ description: 'Event streams at a time' }),
  }).prefault({}),
  cluster: closedObject({
    registry: z.string().max(1024).optional().meta({
      description:
        'Where hosts agree: `etcd://HOST:PORT,HOST:PORT/NAMESPACE`, `etcds://` for TLS, or `file:/PATH` for daemons on one machine; `culvert up --registry` says it too',
    }),
    name: z
      .string()
      .regex(NAME, 'want 1 to 63 of a-z, 0-9 and -, no - first or last')
      .optional()
      .meta({ description: 'Of this host, unique in the cluster; the daemon’s `name` where absent' }),
    user: z.string().max(256).optional().meta({ description: 'Who asks the registry' }),
    passwordFile: folder.optional().meta({ description: 'A file of mode 0600 that holds the user’s password' }),
    caFile: folder.optional().meta({ description: 'PEM: the authority of the registry’s certificate' }),
    certificateFile: folder.optional().meta({ description: 'PEM: this host’s own, where the registry wants one' }),
    keyFile: folder.optional().meta({ description: 'PEM: the key of `certificateFile`' }),
    range: prefix.optional().meta({
      description: 'Of all hosts’ subnets; the first host gives it to the cluster, `10.64.0.0/10` where absent',
    }),
    unit: z
      .int()
      .min(12)
      .max(29)
      .optional()
      .meta({ description: 'Prefix length of the pieces that `range` is cut into; 20 where absent' }),
    subnetLength: z
      .int()
      .min(9)
      .max(29)
      .optional()
      .meta({ description: 'Prefix length of this host’s subnet, up to eight pieces; one piece where absent' }),
    endpoint: ipv4
      .optional()
      .meta({ description: 'Where other hosts reach this one; the uplink’s first address where absent' }),
    port: z.int().min(1).max(65_534).default(51_820).meta({
      description:
        'UDP port of WireGuard with keys of an even rotation; the next one is that with keys of an odd rotation',
    }),
    clearPort: z
      .int()
      .min(1)
      .max(65_535)
      .default(51_830)
      .meta({ description: 'UDP port of what goes in clear where it is wrapped' }),
    presharedKeyFile: folder.optional().meta({
      description: 'A file of mode 0600 with a key that all hosts share besides their own, as `wg genpsk` makes it',
    }),
    rotateKeysEveryMs: z.int().min(10_000).max(31_536_000_000).optional().meta({
      description:
        'ms after which all hosts get new keys of WireGuard by themselves, such as 2592000000 for thirty days; never where absent. To be the same on all hosts',
    }),
    holdMs: z
      .int()
      .min(10_000)
      .max(86_400_000)
      .default(600_000)
      .meta({ description: 'ms that the subnet of a host that is lost stays its own: its sandboxes may live' }),
  })
    .optional()
    .meta({
      description: 'Makes the host one of several; `ranges.host` is then the subnet that it has in the cluster',
    }),
  connect: closedObject({
    runDir: folder.default(RUN_FOLDER).meta({
      description:
        '`--run-dir` of `culvert connect`: the daemon takes away what is left of a tunnel there when who kept it was killed',
    }),
    stateDir: folder.default(STATE_FOLDER).meta({ description: 'Its `--state-dir`' }),
  }).prefault({}),
  api: closedObject({
    tcp: closedObject({
      listen: listen.meta({ description: 'IPv4 address and port, such as `127.0.0.1:7070`' }),
      tokenFile: folder.meta({
        description:
          'A file of mode 0600 that holds the bearer token, 32 to 512 characters of A-Z, a-z, 0-9, -, ., _ and ~',
      }),
    })
      .optional()
      .meta({ description: 'Serves the API on TCP too; where absent only on the unix socket' }),
  }).prefault({}),
});
