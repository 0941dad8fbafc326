"""Guardrail checks: one file per kind, each a function of the guardrail's options and the judged text.

Every ``check`` returns a verdict for any text, however hostile, in time linear in its length. It raises only where
something is broken that is not the text. No finding and no rationale repeats a value out of the judged text: results
are stored in histories and logs.
"""
