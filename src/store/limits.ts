/** Rows that one call may ask for; `purge` is what one sweep may forget, beside what it expires. */
export const LIMITS = { page: 500, sweep: 500, facts: 500, purge: 2_000 } as const;
