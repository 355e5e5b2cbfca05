import type { Expression } from '../../../plan/ruleset.ts';

/** The expressions of one kind. */
export type OfKind<Kind extends Expression['kind']> = Extract<Expression, { kind: Kind }>;
