import { z } from 'zod';
import { LEAST_MTU } from '../addr/ipv4.ts';
import { PHASES } from '../cluster/records.ts';
import { SLOT_MAX } from '../ipam/lease.ts';
import { closedObject } from '../schema/issue.ts';
import {
  EGRESS,
  group,
  groupText,
  ipv4Text,
  macText,
  policyChange,
  policyParts,
  prefixText,
  rates,
  ratesChange,
  sandboxId,
  sandboxIdText,
  topology,
  via,
  viaText,
} from '../schema/values.ts';

/** How many sandboxes one request may create or remove: it bounds what waits behind it. */
const MAX_BATCH = 1000;

const generation = z
  .int()
  .min(1)
  .max(0xffffffff)
  .meta({ description: 'Which life of its slot: grows by one each time the slot is claimed' });

const slot = z.int().min(1).max(SLOT_MAX).meta({ description: 'The index of the network on its host' });

const wallMs = z.number().meta({ description: 'ms since the epoch; for people only, the clock may jump' });

const leaseState = z.enum(['creating', 'warm', 'ready', 'removing', 'quarantined', 'free']).meta({ id: 'LeaseState' });

const rateInForce = z
  .object({ rate: z.int().meta({ description: 'bytes per second' }), burst: z.int().meta({ description: 'bytes' }) })
  .meta({ id: 'RateInForce' });

const ratesInForce = z
  .object({ transmit: rateInForce.optional(), receive: rateInForce.optional() })
  .meta({ id: 'RatesInForce', description: 'Limits; a direction that is absent has none' });

const policyInForce = z
  .object({ egress: z.enum(EGRESS), allow: z.array(prefixText), deny: z.array(prefixText) })
  .meta({ id: 'EgressPolicyInForce' });

export const sandboxResource = z
  .object({
    id: sandboxIdText,
    generation,
    slot,
    topology,
    state: leaseState,
    netns: z.string().meta({ description: 'The pin of its namespace: a path for setns(2) or `nsenter --net=`' }),
    hostAddress: ipv4Text.meta({ description: 'Where the host reaches it' }),
    guestAddress: ipv4Text.meta({ description: 'What it is inside' }),
    gateway: ipv4Text.meta({ description: 'As seen from inside' }),
    dns: ipv4Text.meta({ description: 'Its name server for the names of its group, and for none else' }),
    mac: macText.meta({ description: 'Of the guest, or of eth0' }),
    tap: z.string().optional().meta({ description: 'The TAP in its namespace; only in the `microvm` topology' }),
    mtu: z.int().meta({ description: 'bytes' }),
    rates: ratesInForce,
    policy: policyInForce,
    group: groupText.optional(),
    via: viaText.optional(),
  })
  .meta({ id: 'Sandbox' });

export const sandboxList = z.object({ sandboxes: z.array(sandboxResource) }).meta({ id: 'SandboxList' });

const rateLimiter = z
  .object({
    bandwidth: z.object({
      size: z.int().meta({ description: 'bytes' }),
      refill_time: z.int().meta({ description: 'ms' }),
    }),
  })
  .meta({ id: 'FirecrackerRateLimiter', description: 'Firecracker’s own limiter, which makes the guest wait' });

export const firecrackerResource = z
  .object({
    'boot-source': z.object({
      boot_args: z.string().meta({ description: 'To be added to the guest kernel’s arguments' }),
    }),
    'network-interfaces': z.array(
      z.object({
        iface_id: z.string(),
        host_dev_name: z.string(),
        guest_mac: macText,
        tx_rate_limiter: rateLimiter,
        rx_rate_limiter: rateLimiter.optional(),
      }),
    ),
  })
  .meta({ id: 'Firecracker', description: 'Parts of Firecracker’s configuration, under its own names' });

export const createBody = closedObject({
  id: sandboxId.optional().meta({ description: 'Made by the daemon where absent' }),
  count: z.int().min(1).max(MAX_BATCH).default(1).meta({ description: 'How many, all or none; with an `id` only 1' }),
  topology,
  rates: rates.optional(),
  policy: policyParts.optional(),
  group: group.optional(),
  via: via.optional(),
})
  .refine(({ id, count }) => id === undefined || count === 1, {
    path: ['count'],
    message: 'Cannot give one id to several sandboxes: leave id away, or want a count of 1',
    params: { code: 'invalid_count' },
  })
  .meta({
    id: 'CreateSandboxes',
    description: 'Where `rates` or a part of `policy` is absent, the config’s for the topology',
  });

export const changeBody = closedObject({
  rates: ratesChange.nullable().optional().meta({ description: 'What is absent stays; null: no limits' }),
  policy: policyChange.optional(),
  group: group.nullable().optional().meta({ description: 'null: none' }),
})
  .refine((change) => Object.values(change).some((value) => value !== undefined), {
    message: 'Cannot change nothing: want rates, policy or group',
  })
  .meta({
    id: 'ChangeSandbox',
    description:
      'Laid over what the sandbox has, as a merge patch (RFC 7396): what is absent stays, and null takes away. In one atomic step, so that of two changes at once neither undoes what the other does not name',
  });

export const removeBody = closedObject({ ids: z.array(sandboxId).min(1).max(MAX_BATCH) }).meta({
  id: 'RemoveSandboxes',
});

export const removalList = z
  .object({ removed: z.array(z.object({ id: sandboxIdText, generation, slot })) })
  .meta({ id: 'RemovalList' });

export const leaseResource = z
  .object({
    slot,
    generation,
    state: leaseState,
    sandboxId: sandboxIdText
      .optional()
      .meta({ description: 'The owner, in quarantine the last one; absent for the warm pool' }),
    topology: topology.optional(),
    sinceWallMs: wallMs.optional(),
    quarantine: z
      .object({
        reason: z.string(),
        dueInMs: z.number().meta({ description: 'ms until time alone no longer holds it' }),
        flushVerified: z.boolean().meta({ description: 'No flow of its last life is left' }),
      })
      .optional(),
  })
  .meta({ id: 'Lease' });

export const leaseList = z.object({ leases: z.array(leaseResource) }).meta({ id: 'LeaseList' });

export const releaseBody = closedObject({
  force: z.boolean().default(false).meta({ description: 'Also where old flows may be left' }),
}).meta({ id: 'ReleaseLease' });

const hostResource = z
  .object({
    name: z.string(),
    isSelf: z.boolean().meta({ description: 'It is the host that answers' }),
    isAlive: z.boolean().optional().meta({
      description:
        'It was heard of in the last seconds; one that was not keeps its subnet. Absent where the registry is away',
    }),
    isDraining: z.boolean().meta({ description: 'It takes no new sandboxes' }),
    subnet: prefixText
      .optional()
      .meta({ description: 'Of its sandboxes’ addresses; absent, with what follows, where its record cannot be read' }),
    generation: z.int().optional().meta({ description: 'Which machine of that name' }),
    version: z.string().optional(),
    publicKey: z.string().optional(),
    endpoint: z.string().optional().meta({ description: 'Address and UDP port of WireGuard' }),
    mtu: z.int().optional().meta({ description: 'bytes, of its sandboxes’ links' }),
    problem: z.string().optional().meta({ description: 'Why there is no traffic with it' }),
  })
  .meta({ id: 'Host' });

export const hostList = z.object({ hosts: z.array(hostResource) }).meta({ id: 'HostList' });

const sendingText = z.enum(['encrypted', 'clear']);

const phaseText = z.enum(PHASES).meta({
  description:
    '`accept`: all take in both ways; `send`: each sends the new way to whom it has proved it with; `drop`: the old way is refused; `done`: nothing is under way',
});

export const epochResource = z
  .object({
    number: z.int().meta({ description: 'Grows by one with each change' }),
    phase: phaseText,
    encrypts: z.boolean(),
    rotation: z.int().meta({ description: 'Of the keys' }),
    whenDown: z
      .enum(['wait', 'clear'])
      .meta({ description: 'What becomes of packets to a host that WireGuard does not reach' }),
    rotatedWallMs: wallMs,
    mtu: z.int().meta({ description: 'bytes, of the largest IP packet from a sandbox of one host to one of another' }),
    formerMtu: z.int().meta({ description: 'The same before the change that is under way' }),
  })
  .meta({ id: 'MeshEpoch' });

const sinceMs = z.number().meta({ description: 'ms ago; absent for never' });

export const meshResource = z
  .object({
    epoch: epochResource,
    progress: z.array(
      z
        .object({
          name: z.string(),
          isAlive: z.boolean().optional().meta({ description: 'Absent where the registry is away' }),
          number: z.int().optional().meta({ description: 'The epoch that it knows of; absent where it has told none' }),
          reached: phaseText.optional(),
          waitsFor: z
            .array(z.string())
            .meta({ description: 'Hosts that keep it from the next phase, the first of them' }),
        })
        .meta({ id: 'MeshProgress', description: 'How far a host has come with the epoch' }),
    ),
    peers: z.array(
      z
        .object({
          name: z.string(),
          isAlive: z.boolean().optional().meta({ description: 'Absent where the registry is away' }),
          sends: sendingText.optional().meta({ description: 'How this host sends to it' }),
          hears: sendingText.optional().meta({ description: 'How it sends to this host' }),
          isWrapped: z
            .boolean()
            .optional()
            .meta({ description: 'Where this host sends to it in clear: by VXLAN, and not as it is' }),
          acceptsClear: z.boolean().meta({ description: 'What it sends in clear is taken in' }),
          pathMtu: z.int().optional().meta({ description: 'bytes, of the largest IP packet that passes to it' }),
          pathMtuBack: z.int().optional().meta({ description: 'bytes, of the largest that passes from it' }),
          roundTripMs: z.number().optional(),
          answeredMsAgo: sinceMs.optional(),
          handshakeMsAgo: sinceMs.optional(),
          received: z.number().meta({ description: 'bytes of encrypted packets' }),
          sent: z.number().meta({ description: 'bytes of encrypted packets' }),
        })
        .meta({ id: 'MeshPeer', description: 'How this host and another one go together' }),
    ),
  })
  .meta({ id: 'Mesh' });

export const meshBody = closedObject({
  encrypts: z.boolean().optional(),
  whenDown: z.enum(['wait', 'clear']).optional(),
  rotates: z.boolean().optional().meta({ description: 'New keys on all hosts' }),
  mtu: z
    .int()
    .min(LEAST_MTU)
    .max(65_535)
    .optional()
    .meta({ description: 'bytes, of the largest IP packet from a sandbox of one host to one of another' }),
})
  .refine((wish) => Object.values(wish).some((value) => value !== undefined), {
    message: 'Cannot change nothing: want encrypts, whenDown, rotates or mtu',
  })
  .meta({ id: 'ChangeMesh' });

export const reconcileBody = closedObject({
  dryRun: z.boolean().default(false).meta({ description: 'Only say what would be done' }),
}).meta({ id: 'Reconcile' });

export const reconcileResult = z
  .object({ plan: z.array(z.string()).meta({ description: 'A line per operation' }), applied: z.boolean() })
  .meta({ id: 'ReconcileResult' });

const perTopology = z.object({ microvm: z.int(), netns: z.int(), bridge: z.int() });

export const statusResource = z
  .object({
    name: z.string(),
    version: z.string(),
    pid: z.int(),
    startedWallMs: wallMs,
    live: perTopology,
    warm: perTopology.meta({ description: 'Networks that are ready and wait for an owner' }),
    quarantined: z.int(),
    removing: z.int(),
    freeSlots: z.int(),
    adopting: z.boolean().meta({ description: 'Some sandboxes of an earlier run are not verified yet' }),
    mtu: z.int(),
    flows: z
      .object({ root: z.int(), router: z.int(), most: z.int() })
      .meta({ description: 'Entries of connection tracking in the two namespaces, and the most that each may have' }),
    names: z.object({ answered: z.int(), refused: z.int(), dropped: z.int() }).optional().meta({
      description:
        'Questions for names since the start: told an address or that there is none, refused, or left unanswered',
    }),
    drainingSinceWallMs: wallMs
      .optional()
      .meta({ description: 'Since when the host takes no new sandboxes, ms since the epoch; absent where it does' }),
    problems: z.array(z.object({ code: z.string(), message: z.string() })),
  })
  .meta({ id: 'Status' });

export const drainBody = closedObject({}).meta({ id: 'Drain' });

export const shutdownBody = closedObject({
  purge: z.boolean().default(false).meta({ description: 'Remove everything that is Culvert’s on this host first' }),
}).meta({ id: 'Shutdown' });

export const shutdownResult = z.object({ pid: z.int(), purged: z.boolean() }).meta({ id: 'ShutdownResult' });

export const eventResource = z
  .object({
    sequence: z.int(),
    wallMs,
    type: z.string().meta({ description: 'Stable and dotted, such as `sandbox.created`' }),
    sandboxId: sandboxIdText.optional(),
    slot: slot.optional(),
    generation: generation.optional(),
    message: z.string(),
    data: z.record(z.string(), z.unknown()).optional(),
  })
  .meta({ id: 'Event' });

export const failureResource = z
  .object({
    error: z.object({
      code: z.string().meta({ description: 'Stable' }),
      message: z.string(),
      field: z.string().optional().meta({ description: 'What of the input is to blame, such as `policy.allow[2]`' }),
    }),
  })
  .meta({ id: 'Failure' });

/** Resources and requests as they stand in JSON. */
export type SandboxResource = z.output<typeof sandboxResource>;
export type FirecrackerResource = z.output<typeof firecrackerResource>;
export type LeaseResource = z.output<typeof leaseResource>;
export type HostResource = z.output<typeof hostResource>;
export type MeshResource = z.output<typeof meshResource>;
export type EpochResource = z.output<typeof epochResource>;
export type MeshBody = z.input<typeof meshBody>;
export type StatusResource = z.output<typeof statusResource>;
export type EventResource = z.output<typeof eventResource>;
export type CreateBody = z.input<typeof createBody>;
export type ChangeBody = z.input<typeof changeBody>;
export type RemovalResource = z.output<typeof removalList>['removed'][number];
export type ReconcileResult = z.output<typeof reconcileResult>;
export type ShutdownResult = z.output<typeof shutdownResult>;
export type FailureResource = z.output<typeof failureResource>;
