list(APPEND SIPHEAL_CORE_SOURCES
  engine/answer_policy.cc
  engine/attempts.cc
  engine/by_hand.cc
  engine/crash_intake.cc
  engine/engine.cc
  engine/halting.cc
  engine/healer_options.cc
  engine/journal_writer.cc
  engine/known.cc
  engine/loop.cc
  engine/outcomes.cc
  engine/resuming.cc
  engine/returned.cc
  engine/pacer.cc
  engine/placement.cc
  engine/placing.cc
  engine/planner.cc
  engine/plugin_pool.cc
  engine/takeover.cc)
list(APPEND SIPHEAL_CORE_HEADERS
  sipheal/healer.h
  sipheal/healer_options.h
  sipheal/sipheal.h)
