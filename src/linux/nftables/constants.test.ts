import { describe, expect, it } from 'vitest';
import { headerNames } from '../testing/header-names.ts';
import * as constants from './constants.ts';
import * as expressions from './expr/constants.ts';

const names = headerNames(
  'linux/netlink.h',
  'linux/netfilter.h',
  'linux/netfilter/nf_tables.h',
  'linux/netfilter/nfnetlink.h',
);

describe.skipIf(names === undefined)('the numbers of nf_tables', () => {
  it.each(Object.entries({ ...constants, ...expressions }))('%s is what the header says', (name, value) => {
    expect(names?.get(name)).toBe(value);
  });
});
