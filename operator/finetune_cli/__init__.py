"""`finetune`: what people type. Commands are thin; reading and judging a manifest is apart."""
