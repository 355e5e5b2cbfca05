import { expect, it } from 'vitest';
import { assertProven, evidence, ProofError } from './proof.ts';

const proof = {
  claim: 'none arrives',
  done: 'sent 5',
  seen: 'none',
  observed: { arrived: [] },
  expected: { arrived: [] },
};

it('lets pass what is observed as expected', () => {
  expect(() => assertProven(proof)).not.toThrow();
});

it('names the claim that does not hold, and shows what was done, expected and observed', () => {
  const broken = { ...proof, observed: { arrived: ['a'] } };
  expect(() => assertProven(broken)).toThrow(new ProofError(broken));
  expect(new ProofError(broken).message).toBe('Not so: none arrives');
  expect(evidence(broken)).toBe("done      sent 5\nexpected  { arrived: [] }\nobserved  { arrived: [ 'a' ] }");
});
