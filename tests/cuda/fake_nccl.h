// What a test tells the library in the place of NCCL's (fake_nccl.cc).
#pragma once

// Enqueues work on a stream: it is tried, in the stream's order, until it returns true.
using FakeNcclEnqueue = void (*)(void* stream, bool (*work)(void*), void* argument);

// Of the environment: where the ranks exchange files.
inline constexpr const char* kFakeNcclFolder = "FAKE_NCCL_FOLDER";

// The library's own name of the function that sets it: void FakeNcclSetStreams(FakeNcclEnqueue).
inline constexpr const char* kFakeNcclSetStreams = "FakeNcclSetStreams";
