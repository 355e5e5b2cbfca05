import { expect, it } from 'vitest';
import { InputError } from '../../errors.ts';
import { tunnelName } from './name.ts';

it.each([
  ['wg0', 'wg0'],
  ['/etc/wireguard/wg0.conf', 'wg0'],
  ['./a.b_c=d+e-f.conf', 'a.b_c=d+e-f'],
  ['wg0.conf', 'wg0'],
  ['123456789012345', '123456789012345'],
  ['/a.conf/b.conf', 'b'],
])('names a link after %s', (text, name) => {
  expect(tunnelName(text)).toBe(name);
});

const WANT = 'want 1 to 15 of the letters a to z in either case, digits, and _ = + . -';
it.each([
  ['', `Cannot name a link "": ${WANT}`],
  ['/etc/wireguard/.conf', `Cannot name a link "": ${WANT}`],
  ['a-very-long-name.conf', `Cannot name a link "a-very-long-name": it has 16 characters, ${WANT}`],
  ['wg 0', `Cannot name a link "wg 0": ${WANT}`],
  ['wg\n', String.raw`Cannot name a link "wg\u{a}": ` + WANT],
  ['wgé', `Cannot name a link "wgé": ${WANT}`],
  ['/tmp/wg0', 'Cannot name a link after the file "wg0": want a file NAME.conf, or say a name'],
  ['all', 'Cannot name a link "all": the kernel uses it for something else; want another'],
  ['...conf', 'Cannot name a link "..": the kernel uses it for something else; want another'],
])('names none after %j', (text, message) => {
  expect(() => tunnelName(text)).toThrow(new InputError('tunnel_name', message, { field: 'name' }));
});
