// SPDX-License-Identifier: Apache-2.0
#include "sip/kernel/block_plain.h"
#include "sip/kernel/impl_includes.h"

namespace sipheal::inline v0_1::sip::kernel {
namespace {

using Block = PlainBlock;
using Name = PlainName;
#include "sip/kernel/impl.inc"

}  // namespace

const Kernel kPlain = {"plain", &Parse, &ReadFields, &ReadRoutes, &WriteInvite, &ReadsBack};

}  // namespace sipheal::inline v0_1::sip::kernel
