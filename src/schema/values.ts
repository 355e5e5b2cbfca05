import { z } from 'zod';
import { parseIpv4 } from '../addr/ipv4.ts';
import { parseMac } from '../addr/mac.ts';
import { parsePrefix } from '../addr/prefix.ts';
import { InputError } from '../errors.ts';
import { parseSandboxId, parseSlot, SLOT_MAX, type Slot, TOPOLOGIES } from '../ipam/lease.ts';
import { parseGroupName } from '../sandbox/group.ts';
import { type Egress, MAX_PREFIXES, parsePolicy } from '../sandbox/policy/policy.ts';
import { BURST_MAX, BURST_MIN, RATE_MAX, RATE_MIN, rateWith } from '../sandbox/rate.ts';
import { parseVia } from '../sandbox/via.ts';
import { closedObject, readWith } from './issue.ts';

/**
 * The domain's values as they stand in JSON and YAML: `…Text` for what is told, and without it for what is read, where
 * the schema's input is the text and its output the value. What a text looks like is said by hand, because the formats
 * of zod's own `ipv4()` and `cidrv4()` come out of the OpenAPI generator as ones that JSON Schema does not know.
 */
export const ipv4Text = z
  .string()
  .max(63)
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

export const groupText = z.string().meta({
  pattern: '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$',
  examples: ['team-7'],
  description:
    'A private group, on any of a cluster’s hosts: those in it reach each other, and nobody else does. Not for `bridge`',
});

export const group = groupText.transform(readWith((text: string) => parseGroupName(text)));

export const viaText = z.string().meta({
  pattern: '^[a-zA-Z0-9_=+.-]{1,15}$',
  examples: ['nl1'],
  description:
    'The WireGuard tunnel that it leaves by, and by no other way: a file of that name, with `.conf`, in the config’s `tunnels`. It is its own; with `group` it is that of all of the group on this host',
});

export const via = viaText.transform(readWith((text: string) => parseVia(text)));

/** A slot as it stands in a path. */
export const slotInPath = z
  .string()
  .meta({ pattern: '^[0-9]+$', examples: ['12'], description: `A slot, 1 to ${SLOT_MAX}` })
  .transform(readWith((text: string) => slotFrom(text)));

function slotFrom(text: string): Slot {
  if (/^[0-9]{1,5}$/.test(text)) return parseSlot(Number(text));
  const shown = JSON.stringify(text.slice(0, 20));
  throw new InputError('invalid_slot', `Cannot use ${shown} as a slot: want an integer from 1 to ${SLOT_MAX}`);
}

export const topology = z.enum(TOPOLOGIES).meta({
  id: 'Topology',
  description:
    '`microvm`: a namespace with a TAP for a virtual machine; `netns`: a namespace for processes; `bridge`: a namespace on the shared bridge',
});

const bytesPerSecond = z.int().min(RATE_MIN).max(RATE_MAX).meta({ description: 'bytes per second' });
const burst = z.int().min(BURST_MIN).max(BURST_MAX);

const rate = closedObject({
  rate: bytesPerSecond,
  burst: burst.optional().meta({ description: 'bytes that may pass at once; half a second of the rate where absent' }),
})
  .meta({ id: 'Rate', description: 'A limit' })
  .transform(
    readWith((value: { rate: number; burst?: number | undefined }) => rateWith(value.rate, value.burst, 'burst')),
  );

export const rates = closedObject({
  transmit: rate.optional(),
  receive: rate.optional(),
})
  .meta({
    id: 'Rates',
    description:
      'Limits of what the sandbox sends (`transmit`) and gets (`receive`); a direction that is absent has none. What `netns` and `bridge` send beyond it is dropped, not delayed, and a second’s worth may always pass at once',
  })
  .transform(said);

const rateChange = closedObject({
  rate: bytesPerSecond.optional(),
  burst: burst
    .nullable()
    .optional()
    .meta({ description: 'bytes that may pass at once; null: half a second of the rate' }),
}).transform(said);

/** Rates of which what is absent stays. */
export const ratesChange = closedObject({
  transmit: rateChange.nullable().optional().meta({ description: 'null: no limit' }),
  receive: rateChange.nullable().optional().meta({ description: 'null: no limit' }),
}).transform(said);

export const EGRESS = ['open', 'internet', 'none'] as const satisfies readonly Egress[];

const egress = z
  .enum(EGRESS)
  .meta({ description: '`open`: everything; `internet`: public addresses only; `none`: nothing' });

const ALLOW = 'Prefixes to reach all the same';
const DENY = 'Prefixes not to reach; the longest prefix wins, and of two of one length this one';

const prefixes = z.array(prefix).max(MAX_PREFIXES);
const prefixTexts = z.array(prefixText).max(MAX_PREFIXES).optional();

export const policy = closedObject({
  egress,
  allow: prefixTexts.meta({ description: ALLOW }),
  deny: prefixTexts.meta({ description: DENY }),
})
  .meta({ id: 'EgressPolicy', description: 'What the sandbox may reach' })
  .transform(readWith((value: unknown) => parsePolicy(value, '')));

/** A policy of which what is absent is as in another; `policyOver` puts the two together. */
export const policyParts = closedObject({
  egress: egress.optional(),
  allow: prefixes.optional().meta({ description: ALLOW }),
  deny: prefixes.optional().meta({ description: DENY }),
})
  .meta({
    id: 'EgressPolicyParts',
    description: 'What the sandbox may reach, as far as it is not as the config says',
  })
  .transform(said);

/** The same for a sandbox that has a policy. */
export const policyChange = closedObject({
  egress: egress.optional(),
  allow: prefixes
    .nullable()
    .optional()
    .meta({ description: `${ALLOW}, in place of all that are; null: none` }),
  deny: prefixes
    .nullable()
    .optional()
    .meta({ description: `${DENY}. In place of all that are; null: none` }),
})
  .meta({ id: 'EgressPolicyChange', description: 'What is absent stays' })
  .transform(said);

type Said<Fields> = { [Name in keyof Fields]: Exclude<Fields[Name], undefined> };

/** Only the fields that are there. */
function said<Fields extends object>(fields: Fields): Said<Fields> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Said<Fields>;
}
