// SPDX-License-Identifier: Apache-2.0
// Everything that others may share is included before the instruction set is switched on, so that
// no function of a header is compiled with instructions that the processor may not have.
#if defined(__x86_64__)
#include <immintrin.h>

#include "sip/kernel/block_sse2.h"
#include "sip/kernel/byte_set.h"
#include "sip/kernel/impl_includes.h"

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,bmi,bmi2,popcnt"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,bmi,bmi2,popcnt")
#endif
#include "sip/kernel/block_avx2.h"

namespace sipheal::inline v0_1::sip::kernel {
namespace {

using Block = Avx2Block;
using Name = Sse2Name;
#include "sip/kernel/impl.inc"

}  // namespace

const Kernel kAvx2 = {"avx2", &Parse, &ReadFields, &ReadRoutes, &WriteInvite, &ReadsBack};

}  // namespace sipheal::inline v0_1::sip::kernel
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
