"""The exercises of each lesson, a file a lesson: solutions and mistakes as functions."""
