// SPDX-License-Identifier: Apache-2.0
#include "engine/pacer.h"

#include <algorithm>

namespace sipheal::inline v0_1::internal {
namespace {

// Halving on trouble and rising by a twentieth on each success: back to full rate within about 15
// good answers.
constexpr double kFall = 0.5;
constexpr double kRise = 1.05;

double Seconds(MonotonicTime::duration duration) {
  return std::chrono::duration<double>(duration).count();
}

}  // namespace

Pacer::Pacer(const PacingOptions& options, MonotonicTime now)
    : options_(options), rate_(options.rate), tokens_(options.burst), filled_at_(now) {}

void Pacer::Refill(MonotonicTime now) {
  if (now <= filled_at_) return;
  tokens_ = std::min<double>(options_.burst, tokens_ + rate_ * Seconds(now - filled_at_));
  filled_at_ = now;
}

bool Pacer::TryTake(MonotonicTime now) {
  Refill(now);
  if (tokens_ < 1) return false;
  tokens_ -= 1;
  return true;
}

MonotonicTime Pacer::NextAt(MonotonicTime now) const {
  const double have = tokens_ + rate_ * Seconds(std::max(now, filled_at_) - filled_at_);
  if (have >= 1) return now;
  // One millisecond more than needed, so that rounding never makes the caller come back a moment
  // too early.
  return now +
         std::chrono::duration_cast<MonotonicTime::duration>(
             std::chrono::duration<double>((1 - have) / rate_)) +
         std::chrono::milliseconds(1);
}

void Pacer::Succeeded(MonotonicTime::duration took) {
  if (took > options_.slow) {
    Overloaded();
    return;
  }
  rate_ = std::min(options_.rate, rate_ * kRise);
}

void Pacer::Overloaded() {
  rate_ = std::max(options_.min_rate, rate_ * kFall);
  tokens_ = std::min(tokens_, 1.0);  // what was saved up is not spent on a target in trouble
}

}  // namespace sipheal::inline v0_1::internal
