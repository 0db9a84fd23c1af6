# SPDX-License-Identifier: Apache-2.0
"""What integration tests and demos share: real Asterisk instances, an ARI client, strict phones.

Standard library only.
"""
