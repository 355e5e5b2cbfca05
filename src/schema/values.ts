import { z } from 'zod';
import { parseIpv4 } from '../addr/ipv4.ts';
import { parseMac } from '../addr/mac.ts';
import { formatPrefix, parsePrefix } from '../addr/prefix.ts';
import { parseSandboxId, parseSlot, SLOT_MAX, TOPOLOGIES } from '../ipam/lease.ts';
import { type Egress, type EgressPolicy, MAX_PREFIXES, parsePolicy } from '../sandbox/policy/policy.ts';
import type { Rate } from '../sandbox/topology/desired.ts';
import { closedObject, readWith } from './issue.ts';

/**
 * The domain's values as they stand in JSON and YAML: `…Text` for what is told, and without it for what is read, where
 * the schema's input is the text and its output the value. What a text looks like is said by hand, because the formats
 * of zod's own `ipv4()` and `cidrv4()` come out of the OpenAPI generator as ones that JSON Schema does not know.
 */
export const ipv4Text = z
  .string()
  .max(15)
  .meta({ title: 'an IPv4 address', format: 'ipv4', examples: ['10.11.0.1'] });

export const prefixText = z
  .string()
  .max(18)
  .meta({
    title: 'an IPv4 prefix',
    pattern: String.raw`^\d{1,3}(\.\d{1,3}){3}(/\d{1,2})?$`,
    examples: ['10.0.0.0/8'],
  });

export const ipv4 = ipv4Text.transform(readWith((text: string) => parseIpv4(text)));

export const prefix = prefixText.transform(readWith((text: string) => parsePrefix(text)));

/** An address with the length of the network it stands in. */
export const interfaceAddress = z
  .string()
  .max(18)
  .meta({ title: 'an IPv4 address with a length', examples: ['169.254.0.22/30'] })
  .transform(
    readWith((text: string) => {
      const slash = text.indexOf('/');
      const address = parseIpv4(slash < 0 ? text : text.slice(0, slash));
      return { address, length: slash < 0 ? 32 : parsePrefix(`0.0.0.0${text.slice(slash)}`).length };
    }),
  );

export const macText = z
  .string()
  .max(17)
  .meta({
    title: 'a MAC address',
    pattern: '^([0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}$',
    examples: ['02:fc:00:00:00:06'],
  });

export const mac = macText.transform(readWith((text: string) => parseMac(text)));

export const sandboxIdText = z.string().meta({
  pattern: '^[a-z0-9][a-z0-9-]{0,62}$',
  examples: ['build-42'],
  description: 'What the platform calls the sandbox: 1 to 63 of a-z, 0-9 and -, the first a letter or digit',
});

export const sandboxId = sandboxIdText.transform(readWith((text: string) => parseSandboxId(text)));

/** A slot as it stands in a path. */
export const slotInPath = z
  .string()
  .meta({ pattern: '^[0-9]+$', examples: ['12'], description: `A slot, 1 to ${SLOT_MAX}` })
  .transform(readWith((text: string) => parseSlot(/^[0-9]{1,5}$/.test(text) ? Number(text) : Number.NaN)));

export const topology = z.enum(TOPOLOGIES).meta({
  id: 'Topology',
  description:
    '`microvm`: a namespace with a TAP for a virtual machine; `netns`: a namespace for processes; `bridge`: a namespace on the shared bridge',
});

/** bytes per second; tbf counts in ticks of 64 ns and cannot be slower than a packet in some seconds */
const RATE_MIN = 1_000;
/** bytes per second: 100 Gbit/s; nf_tables holds the time that a second's worth takes at most 18 of such in 64 bits */
const RATE_MAX = 12_500_000_000;
/** bytes: room for one packet of the largest MTU, or the shaper would let none pass */
const BURST_MIN = 65_536;
/** bytes: tbf holds the bucket in 32 bits */
const BURST_MAX = 0xffffffff;
/** s: tbf holds the time that a full burst takes in 32 bits, in ticks of 64 ns */
const BURST_SECONDS_MAX = 250;
/** s: the burst of a rate that names none; 200 MB/s and 100 MB have this ratio */
const BURST_SECONDS = 0.5;

export const rate = closedObject({
  rate: z.int().min(RATE_MIN).max(RATE_MAX).meta({ description: 'bytes per second' }),
  burst: z
    .int()
    .min(BURST_MIN)
    .max(BURST_MAX)
    .optional()
    .meta({ description: 'bytes that may pass at once; half a second of the rate where absent' }),
})
  .meta({ id: 'Rate', description: 'A limit' })
  .transform((value, ctx): Rate => {
    const burst = value.burst ?? Math.min(Math.max(Math.floor(value.rate * BURST_SECONDS), BURST_MIN), BURST_MAX);
    if (burst > value.rate * BURST_SECONDS_MAX) {
      ctx.issues.push({
        code: 'custom',
        message: `Cannot use a burst of ${burst} bytes at ${value.rate} bytes per second: want at most ${BURST_SECONDS_MAX} s of the rate`,
        input: value,
        path: ['burst'],
        params: { code: 'invalid_rate' },
      });
    }
    return { rate: value.rate, burst };
  });

export const rates = closedObject({
  transmit: rate.optional(),
  receive: rate.optional(),
})
  .meta({
    id: 'Rates',
    description:
      'Limits of what the sandbox sends (`transmit`) and gets (`receive`); a direction that is absent has none. What `netns` and `bridge` send beyond it is dropped, not delayed, and a second’s worth may always pass at once',
  })
  .transform(({ transmit, receive }) => ({
    ...(transmit === undefined ? {} : { transmit }),
    ...(receive === undefined ? {} : { receive }),
  }));

export const EGRESS = ['open', 'internet', 'none'] as const satisfies readonly Egress[];

const egress = z
  .enum(EGRESS)
  .meta({ description: '`open`: everything; `internet`: public addresses only; `none`: nothing' });

const exceptions = {
  allow: z.array(prefixText).max(MAX_PREFIXES).optional().meta({ description: 'Prefixes to reach all the same' }),
  deny: z
    .array(prefixText)
    .max(MAX_PREFIXES)
    .optional()
    .meta({ description: 'Prefixes not to reach; the longest prefix wins, and of two of one length this one' }),
};

export const policy = closedObject({ egress, ...exceptions })
  .meta({ id: 'EgressPolicy', description: 'What the sandbox may reach' })
  .transform(readWith((value: unknown) => parsePolicy(value, '')));

/** A policy of which what is absent is as in another; {@link policyOver} puts the two together. */
export const policyParts = closedObject({ egress: egress.optional(), ...exceptions }).meta({
  id: 'EgressPolicyParts',
  description: 'What the sandbox may reach, as far as it is not as the config says',
});

/**
 * @param field the path of `parts` in the request
 * @throws InputError `invalid_prefix`, `invalid_ipv4`
 */
export function policyOver(base: EgressPolicy, parts: z.output<typeof policyParts>, field: string): EgressPolicy {
  const {
    egress: said = base.egress,
    allow = base.allow.map(formatPrefix),
    deny = base.deny.map(formatPrefix),
  } = parts;
  return parsePolicy({ egress: said, allow, deny }, field);
}
