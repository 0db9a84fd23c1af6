// SPDX-License-Identifier: Apache-2.0
#if defined(__x86_64__)
#include "sip/kernel/block_sse2.h"
#include "sip/kernel/impl_includes.h"

namespace sipheal::inline v0_1::sip::kernel {
namespace {

using Block = Sse2Block;
using Name = Sse2Name;
#include "sip/kernel/impl.inc"

}  // namespace

const Kernel kSse2 = {"sse2", &Parse, &ReadFields, &ReadRoutes, &WriteInvite, &ReadsBack};

}  // namespace sipheal::inline v0_1::sip::kernel
#endif
