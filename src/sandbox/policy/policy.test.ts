import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Ipv4 } from '../../addr/ipv4.ts';
import { formatPrefix, parsePrefix } from '../../addr/prefix.ts';
import { InputError } from '../../errors.ts';
import { type EgressPolicy, MAX_PREFIXES, parsePolicy, policyId } from './policy.ts';

const egress = fc.constantFrom('open', 'internet', 'none');
// Few values, so that prefixes repeat within a list and between the two.
const prefix = fc.constantFrom(
  '10.0.0.0/8',
  '10.0.0.0/16',
  '10.1.0.0/16',
  '192.0.2.7/32',
  '0.0.0.0/0',
  '198.18.0.0/15',
);
const prefixes = fc.array(prefix, { maxLength: 8 });

function refusal(input: unknown, field?: string): Pick<InputError, 'code' | 'field' | 'message'> {
  try {
    parsePolicy(input, field);
  } catch (error) {
    if (error instanceof InputError) return { code: error.code, field: error.field, message: error.message };
    throw error;
  }
  throw new Error('The policy was accepted');
}

describe('parsing', () => {
  it('sorts, removes repetitions, and keeps what the same prefix denies', () => {
    const policy = parsePolicy({
      egress: 'internet',
      allow: ['192.0.2.7', '10.0.0.0/16', '10.0.0.0/8', '192.0.2.7/32', '198.18.0.0/15'],
      deny: ['198.18.0.0/15'],
    });
    expect(policy.allow.map(formatPrefix)).toEqual(['10.0.0.0/8', '10.0.0.0/16', '192.0.2.7/32', '198.18.0.0/15']);
    expect(policy.deny.map(formatPrefix)).toEqual(['198.18.0.0/15']);
    expect(parsePolicy({ egress: 'none' })).toEqual({ egress: 'none', allow: [], deny: [] });
  });

  it('names the field and the value that is wrong', () => {
    const base = { egress: 'open' };
    expect(refusal({ ...base, allow: ['10.0.0.0/8', '10.0.0.1/8'] })).toEqual({
      code: 'invalid_prefix',
      field: 'policy.allow[1]',
      message: 'Cannot read prefix 10.0.0.1/8: host bits are set, did you mean 10.0.0.0/8',
    });
    expect(refusal({ ...base, deny: ['10.0.0.256'] }, 'spec.policy')).toMatchObject({
      code: 'invalid_ipv4',
      field: 'spec.policy.deny[0]',
    });
    expect(refusal({ egress: 'closed' })).toEqual({
      code: 'invalid_policy',
      field: 'policy.egress',
      message: 'Cannot use egress "closed": want one of open, internet, none',
    });
    expect(refusal({ ...base, alow: [] })).toMatchObject({ code: 'invalid_policy', field: 'policy.alow' });
  });

  it('refuses every wrong shape', () => {
    for (const input of [undefined, null, 'open', 7, [], [{ egress: 'open' }]]) {
      expect(refusal(input)).toMatchObject({ code: 'invalid_policy', field: 'policy' });
    }
    for (const value of [undefined, null, 'OPEN', '', 0, {}, ['open']]) {
      expect(refusal({ egress: value }).field).toBe('policy.egress');
    }
    for (const list of [null, '10.0.0.0/8', { length: 1 }, 3]) {
      expect(refusal({ egress: 'open', allow: list }).field).toBe('policy.allow');
    }
    for (const item of [null, undefined, 10, ['10.0.0.0/8'], {}]) {
      expect(refusal({ egress: 'open', deny: [item] })).toMatchObject({
        code: 'invalid_policy',
        field: 'policy.deny[0]',
      });
    }
    expect(refusal({ egress: 'open', allow: Array.from({ length: 1 }) }).field).toBe('policy.allow[0]');
  });

  it('takes as many prefixes as the limit and not one more', () => {
    const list = Array.from({ length: MAX_PREFIXES }, (_, index) => `10.${index}.0.0/16`);
    expect(parsePolicy({ egress: 'none', allow: list, deny: [] }).allow).toHaveLength(MAX_PREFIXES);
    expect(refusal({ egress: 'none', deny: [...list, '10.0.0.0/16'] })).toEqual({
      code: 'invalid_policy',
      field: 'policy.deny',
      message: 'Cannot use 65 prefixes: want at most 64',
    });
  });

  it('answers any value with a policy or a short InputError', () => {
    const nearly = fc.record(
      { egress: fc.oneof(egress, fc.anything()), allow: fc.anything(), deny: fc.array(fc.oneof(prefix, fc.string())) },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(fc.oneof(fc.anything(), nearly), (input) => {
        try {
          parsePolicy(input);
        } catch (error) {
          expect(error).toBeInstanceOf(InputError);
        }
      }),
    );
    const long = 'x'.repeat(1_000_000);
    for (const input of [long, { egress: long }, { egress: 'open', [long]: 1 }, { egress: 'open', allow: [long] }]) {
      const { message, field } = refusal(input);
      expect(message.length).toBeLessThan(200);
      expect(field?.length).toBeLessThan(200);
    }
  });
});

describe('the id', () => {
  it('does not depend on order or repetition', () => {
    fc.assert(
      fc.property(egress, prefixes, prefixes, (base, allow, deny) => {
        const policy = parsePolicy({ egress: base, allow, deny });
        const again = parsePolicy({
          egress: base,
          allow: [...allow, ...allow].toReversed(),
          deny: deny.toReversed(),
        });
        expect(again).toEqual(policy);
        const raw = { egress: base, allow: allow.map(parsePrefix), deny: deny.map(parsePrefix) } as EgressPolicy;
        expect(policyId(raw)).toBe(policyId(policy));
      }),
    );
  });

  it('differs where the canonical forms differ', () => {
    const policy = fc.record({ egress, allow: prefixes, deny: prefixes }).map((input) => parsePolicy(input));
    fc.assert(
      fc.property(policy, policy, (a, b) => {
        expect(policyId(a) === policyId(b)).toBe(JSON.stringify(a) === JSON.stringify(b));
      }),
    );
  });

  it('is a stable text', () => {
    const policy = parsePolicy({ egress: 'internet', allow: ['10.1.0.0/16'], deny: ['192.0.2.0/24', '10.1.2.3'] });
    expect(policyId(policy)).toBe('internet +10.1.0.0/16 -10.1.2.3/32 -192.0.2.0/24');
    const full = Array.from({ length: MAX_PREFIXES }, (_, index) => ({
      address: (0xffffff00 + 100 + index) as Ipv4,
      length: 32,
    }));
    const shifted = full.map(({ address }) => ({ address: (address - 256) as Ipv4, length: 32 }));
    expect(policyId({ egress: 'internet', allow: full, deny: shifted }).length).toBeLessThanOrEqual(2600);
  });
});
