"""Watching: frames from a camera, a video or a folder, classified as they come; device-safe.

frames.py says what a source is; camera.py, picamera.py, video.py and folder.py are the real ones, fake.py is one for
tests. newest.py makes frames of any camera, schedule.py keeps the rate, loop.py puts it all together.
"""
